-- ends: handler error
-- More of everything that the host hears.
function mischief()
	while true do
		pcall(delete_image, net_listen("x", "", 1, function() end))
		pcall(target_input, BADID, "1:x")
		pcall(store_key, "a", ("x"):rep(1e5))
		pcall(require, "x")
	end
end
