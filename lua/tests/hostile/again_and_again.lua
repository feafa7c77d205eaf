-- ends: script
-- It is started again, and does it again.
function mischief()
	local text = ("x"):rep(1e7)
	local a, b = text .. 1, text .. 2
	while a < b do end
end
always = true
