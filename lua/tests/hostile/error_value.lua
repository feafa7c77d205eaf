-- ends: handler error
-- Showing the error fails, too.
function mischief()
	error(setmetatable({}, {
		__tostring = function(t)
			while true do
				pcall(tostring, t)
			end
		end,
	}))
end
