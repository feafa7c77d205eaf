-- ends: handler error
function mischief()
	local spin = function()
		while true do end
	end
	local t = setmetatable({}, { __index = spin, __tostring = spin, __lt = spin, __concat = spin, __call = spin })
	while true do
		pcall(tostring, t)
		pcall(function() return t.x end)
		pcall(t)
	end
end
