-- ends: handler error
-- What it has taken is nobody's once it is stopped.
function mischief()
	local hoard = {}
	while true do
		pcall(function()
			hoard[#hoard + 1] = ("x"):rep(1e5) .. #hoard
		end)
	end
end
