-- ends: script
-- It is started again, and does it again.
always = true
function mischief()
	local function f()
		coroutine.wrap(f)()
	end
	f()
end
