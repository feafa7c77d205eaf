-- ends: handler error
-- What stops it is caught, again and again.
function mischief()
	while true do
		pcall(function()
			while true do end
		end)
	end
end
