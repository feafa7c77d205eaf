-- ends: restart
function mischief()
	local function f()
		("x"):gsub("x", f)
	end
	f()
end
