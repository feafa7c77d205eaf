-- ends: restart
-- What it has taken it keeps.
hoard = {}
function mischief()
	while true do
		hoard[#hoard + 1] = ("x"):rep(1e6) .. #hoard
	end
end
