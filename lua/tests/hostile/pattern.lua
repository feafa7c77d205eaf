-- ends: handler error
-- Backtracking without end, inside the VM's matcher.
function mischief()
	local text, pattern = ("a"):rep(5000), (".-"):rep(12) .. "b"
	while true do
		pcall(string.find, text, pattern)
		pcall(string.gsub, text, pattern, "")
		for _ in text:gmatch(pattern) do end
	end
end
