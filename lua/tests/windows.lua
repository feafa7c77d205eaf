-- moonport: globals stage connected eq has hasnt
local LISTEN = [[
	l = net_listen("demo", function(source, status)
		if status.kind == "window" then
			print(status.event, status.id, status.label, #moonport.windows(source))
		end
	end)
]]

return {
	["a window has a number and a secret that was made up"] = function()
		local s = stage(LISTEN .. [[
			local w = moonport.window({ listener = l, count = 2, for_s = 60, label = "party" })
			print(#w.id, w.id:match("^%x+$") == w.id, w.name, #w.secret)
			id, secret = w.id, w.secret
		]])
		eq(s:out(), { "16\ttrue\tdemo\t26" })
		local said = s:said()[2]
		has(said, '"listener":1')
		has(said, '"human":false,"without_secret":false,"count":2,"seconds":60,"label":"party"')
		local bytes = {}
		for byte in said:match('"secret":%[([%d,]+)%]'):gmatch("%d+") do
			bytes[#bytes + 1] = string.char(byte)
		end
		eq(table.concat(bytes), s:get("secret"))
		eq(s:err(), "")
	end,

	["a secret that was brought along is not given back"] = function()
		local s = stage(LISTEN .. 'print(moonport.window({ listener = l, secret = "canary" }).secret)')
		eq(s:out(), { "nil" })
		has(s:said()[2], '"human":true,"without_secret":false,"count":1,"seconds":null,"label":null')
	end,

	["no two windows have one number or one secret"] = function()
		local s = stage(LISTEN .. [[
			local a, b = moonport.window({ listener = l }), moonport.window({ listener = l })
			print(a.id ~= b.id, a.secret ~= b.secret)
		]])
		eq(s:out(), { "true\ttrue" })
	end,

	["what is no listener and no option is told"] = function()
		local s = stage(LISTEN .. [[
			print(pcall(moonport.window, {}))
			print(pcall(moonport.window, { listener = 77 }))
			print(pcall(moonport.window, { listener = l, cuont = 2 }))
			print(pcall(moonport.window, { listener = l, count = 0 }))
			print(pcall(moonport.window, { listener = l, secret = "" }))
			print(pcall(moonport.window, { listener = l, secret = ("canary"):rep(9) }))
		]])
		local out = table.concat(s:out(), "\n")
		has(out, "listener is no live listener")
		has(out, "unknown option cuont in moonport.window")
		has(out, "count in moonport.window must be a whole number from 1 on, not 0")
		has(out, "the secret is empty")
		hasnt(out, "canary")
		eq(#s:said(), 2)
	end,

	["the windows of a listener are those that the host has told"] = function()
		local s = stage(LISTEN .. [[
			function show_clock_pulse()
				for _, w in ipairs(moonport.windows(l)) do
					print(w.id, w.label, w.open, w.left, w.enrolled, w.ends_in_s > 1000, w.secret)
				end
				print(#moonport.windows(l), #moonport.windows(77))
				delete_image(l)
				print(#moonport.windows(l))
				shutdown()
			end
		]])
		s:host('{"Windows":{"listener":1,"windows":['
			.. '{"window":171,"label":"party","left":2,"enrolled":1,"open":true,"ends_ms":9000000000000},'
			.. '{"window":172,"label":null,"left":0,"enrolled":3,"open":false,"ends_ms":9000000000000}]}}')
		s:host('{"Windows":{"listener":9,"windows":[]}}')
		s:turn(25)
		eq(s:out(), {
			"00000000000000ab\tparty\ttrue\t2\t1\ttrue\tnil",
			"00000000000000ac\tnil\tfalse\t0\t3\tfalse\tnil",
			"2\t0",
			"0",
		})
	end,

	["an event comes with the list as it then is"] = function()
		local s = stage(LISTEN)
		s:host('{"Windows":{"listener":1,"windows":[{"window":171,"label":null,"left":2,"enrolled":1,"open":true,"ends_ms":0}]}}')
		s:host('{"Window":{"listener":1,"event":"Opened","left":2,"window":171,"label":null}}')
		s:turn()
		eq(s:out(), { "opened\t00000000000000ab\tnil\t1" })
	end,

	["a window is closed by its number"] = function()
		local s = stage(LISTEN .. [[
			print(moonport.close_window(l, "00000000000000ab"))
			print(moonport.close_window(l, "ab"), moonport.close_window(l, "+0000000000000ab"), moonport.close_window(77, "00000000000000ab"))
		]])
		eq(s:out(), { "true", "false\tfalse\tfalse" })
		local said = s:said()
		eq(said[2], '{"CloseWindow":{"listener":1,"window":171}}')
	end,
}
