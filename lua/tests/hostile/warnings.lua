-- ends: handler error
function mischief()
	while true do
		warning("2026-01-01T00:00:00Z  INFO moonport::host: key accepted\nby an admin")
	end
end
