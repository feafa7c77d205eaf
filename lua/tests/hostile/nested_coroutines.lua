-- ends: restart
-- Each one takes of a stack that the VM does not count.
function mischief()
	local function f()
		coroutine.wrap(f)()
	end
	f()
end
