-- ends: restart or handler error
-- Each instruction takes long, and limits are looked at between instructions, now and then.
function mischief()
	local text = ("x"):rep(3e7)
	local a, b = text .. 1, text .. 2
	while a < b do end
end
