-- ends: restart
-- Each instruction takes long, and limits are looked at between instructions.
function mischief()
	local text = ("x"):rep(1e7)
	local a, b = text .. 1, text .. 2
	while a < b do end
end
