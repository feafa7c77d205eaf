-- ends: handler error
-- Texts that are larger than all memory.
function mischief()
	for _ = 1, 10 do
		pcall(string.rep, "x", 2e9)
		pcall(string.format, "%s%s", ("x"):rep(3e7), ("y"):rep(3e7))
	end
	local s = "x"
	while true do
		s = s .. s
	end
end
