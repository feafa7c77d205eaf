-- ends: handler error
-- A comparison that contradicts itself, over and over.
function mischief()
	local list = {}
	for i = 1, 1e5 do
		list[i] = i
	end
	while true do
		pcall(table.sort, list, function()
			return true
		end)
		pcall(table.sort, list, function(a, b)
			return a ~= b
		end)
	end
end
