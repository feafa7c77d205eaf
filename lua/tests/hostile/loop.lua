-- ends: handler error
-- A loop that nothing leaves.
function mischief()
	while true do end
end
