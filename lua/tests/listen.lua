-- moonport: globals stage connected eq has hasnt
-- On the raw stage: what is said to the host, word for word, other modes of errors, and races that only a host can
-- make. What a client sees of listeners is in played/listen.lua.
-- The shape of the manual's example, with a client that leaves and a listener that ends.
local EXAMPLE = [[
function main()
	net_listen(
		function(source, status)
			if status.kind == "segment_request" then
				accept_target(
					function(source, status)
						print("client", source, status.kind)
						if status.kind == "terminated" then
							delete_image(source)
						end
					end
				)
			elseif status.kind == "terminated" then
				shutdown(EXIT_SUCCESS)
			end
		end
	)
end
]]

local KINDS = [[
	kinds = ""
	l = net_listen("demo", function(source, status)
		kinds = kinds .. status.kind .. ":" .. (status.segkind or status.last_words or status.message or "") .. " "
	end)
]]

return {
	["the documented example runs"] = function()
		local s = stage(EXAMPLE)
		eq(s:err(), "")
		has(s:said(), '{"Listen":{"listener":1,"name":"default","interface":"","port":0,"options":"Usual","place":"show.lua:2"}}')
		s:up(1)
		s:request(1, 7)
		eq(s:said(), { '{"Decide":{"session":7,"accept":true}}' })
		s:register(7)
		has(s:sent(), '{"Target":{"segment":{"session":7,"channel":0},"event":"Activate"}}')
		s:terminate(7)
		local out = table.concat(s:out(), "\n")
		has(out:gsub("\t%d+\t", " "), "client registered\nclient preroll\nclient privdrop\nclient terminated")
		s:host('{"Ended":{"listener":1,"last_words":"bye"}}')
		s:turn()
		eq(s:exit(), 0)
		has(s:said(), '{"Exit":{"code":0,"silent":false,"message":"0"}}')
		eq(s:err(), "")
	end,

	["all four forms give a vid"] = function()
		local s = stage([[
			local function f() end
			print(net_listen(f) > 255, net_listen("a-b_9", f) > 255, net_listen("x", "::1", f) > 255,
				net_listen("x", "eth0", 7000, f) > 255, net_listen("x", nil, nil, f) > 255)
		]])
		eq(s:out(), { "true\ttrue\ttrue\ttrue\ttrue" })
		local said = s:said()
		has(said[1], '"name":"default","interface":"","port":0')
		has(said[3], '"name":"x","interface":"::1","port":0')
		has(said[4], '"interface":"eth0","port":7000')
		has(said[5], '"interface":"","port":0')
	end,

	["bad names, ports and missing callbacks are fatal"] = function()
		for _, call in ipairs({ "'bad name', f", "'', f", "'x', '', 65536, f", "'x', '', -1, f", "'x', '', 1.5, f", "'x'" }) do
			local s = stage("local f = function() end pcall(net_listen, " .. call .. ") after = true", { mode = "classic" })
			eq(s:get("after"), nil)
			eq(s:exit(), 1)
			local s = stage("local f = function() end print(pcall(net_listen, " .. call .. "))")
			has(s:out(), "false\tshow.lua:1: net_listen: ")
		end
		local s = stage("print(pcall(net_listen, {}, print))")
		has(s:out(), "name: string expected, got table")
	end,

	["a busy port: preroll, then terminated with a reason"] = function()
		local s = stage(KINDS)
		s:host('{"Ended":{"listener":1,"last_words":"bind: address in use\\n"}}')
		s:turn()
		eq(s:get("kinds"), "preroll:network-server terminated:bind: address in use ")
	end,

	["accept_target out of place and twice is fatal"] = function()
		local s = stage("function show_clock_pulse() accept_target() end")
		s:turn(25)
		has(s:err(), "accept_target: there is no request to accept")
		local s = stage("function show_clock_pulse() pcall(accept_target) after = true end", { mode = "classic" })
		s:turn(25)
		eq(s:get("after"), nil)
		eq(s:exit(), 1)
		local s = stage([[
			net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					print((accept_target(32, 32, function() end)) > 0)
					print(pcall(accept_target))
				end
			end)
		]])
		s:up(1)
		s:said()
		s:request(1, 7)
		local out = s:out()
		eq(out[1], "true")
		has(out[2], "has been accepted already")
		eq(s:said(), { '{"Decide":{"session":7,"accept":true}}' })
	end,

	["i4_an_error_in_a_script_denies"] = function()
		for _, mode in ipairs({ "isolate", "classic", "strict" }) do
			local s = stage(
				[[
				net_listen("demo", function(source, status)
					if status.kind == "segment_request" then
						vid = accept_target(function() end)
						if bad then local x = nil .. "" end
					end
				end)
				function show_clock_pulse() bad = not bad end
			]],
				{ mode = mode }
			)
			s:up(1)
			s:request(1, 7)
			s:register(7)
			s:turn(25)
			s:said()
			s:sent()
			s:request(1, 8)
			has(s:said(), '{"Decide":{"session":8,"accept":false}}')
			if mode == "isolate" then
				hasnt(s:sent(), '"Close"')
				eq(s:exit(), nil)
				local err = s:err()
				has(err, "show.lua:4: ")
				has(err, 'in: the callback of listener "demo" (show.lua:1), on segment_request')
				has(err, "this client is turned away")
				-- The first client lives on, and the next one is taken again.
				s:turn(25)
				s:message(7, "hi")
				s:request(1, 9)
				has(s:said(), '{"Decide":{"session":9,"accept":true}}')
			else
				-- The script ends, and its clients are told.
				has(s:sent(), '{"Close":{"segment":{"session":7,"channel":0}')
				eq(s:exit(), 1)
			end
		end
	end,

	["after delete_image of the listener clients go on and new ones are refused"] = function()
		local s = connected([[
			l = net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					accept_target(function(source, status) last = status.kind end)
				end
			end)
			function show_clock_pulse() if valid_vid(l) then delete_image(l) end end
		]])
		s:turn(25)
		eq(s:said(), { '{"Unlisten":1}' })
		s:message(7, "hi")
		eq(s:get("last"), "message")
		s:request(1, 8)
		eq(s:said(), { '{"Decide":{"session":8,"accept":false}}' })
		s:turn(25)
		eq(s:err(), "")
	end,

	["num:secret reaches the host, mistakes come back as failure"] = function()
		local s = stage([[
			l = net_listen("demo", function(source, status)
				if status.kind == "failure" then print(status.message) end
			end)
			print(target_input(l, "2:se:k"), message_target(l, "0:x"), input_target("0:y", l))
			print(message_target(l, "0:"), message_target(l, "secret"), message_target(l, "x:y"), message_target(l, "1:" .. ("z"):rep(32)))
		]])
		local said = s:said()
		local err = s:err()
		has(err, "show.lua:5: secret: num is not a number\n  so: no secret was set")
		has(err, "1 to 31 bytes")
		hasnt(err, ("z"):rep(32))
		has(said[2], '{"Secret":{"listener":1,"secret":[115,101,58,107],"required":true,"count":2,"seconds":null}}')
		has(said[3], '"count":0')
		eq(#said, 5)
		s:turn()
		eq(s:out(), {
			"0\t0\t0",
			"-1\t-1\t-1\t-1",
			"the secret is empty; it has 1 to 31 bytes",
			"secret: want num:secret",
			"secret: num is not a number",
			"the secret is too long; it has 1 to 31 bytes",
		})
	end,

	["moonport.listen"] = function()
		local s = stage([[
			local f = function() end
			moonport.listen({ name = "a", protocol = "a12", interface = "127.0.0.1", port = 5, secret = "s" }, f)
			moonport.listen{ name = "b", secret = "s", window = { count = 2, for_s = 60 }, callback = f }
			moonport.listen{ secret = "s", window = { count = 1, secret = "w" }, options = {}, callback = f }
		]])
		eq(s:err(), "")
		eq(s:said(), {
			'{"Listen":{"listener":1,"name":"a","interface":"a12://127.0.0.1","port":5,"options":"Usual","place":"show.lua:2"}}',
			'{"Secret":{"listener":1,"secret":[115],"required":true,"count":0,"seconds":null}}',
			'{"Listen":{"listener":2,"name":"b","interface":"","port":0,"options":"Usual","place":"show.lua:3"}}',
			'{"Secret":{"listener":2,"secret":[115],"required":false,"count":2,"seconds":60}}',
			'{"Listen":{"listener":3,"name":"default","interface":"","port":0,"options":"Usual","place":"show.lua:4"}}',
			'{"Secret":{"listener":3,"secret":[115],"required":true,"count":0,"seconds":null}}',
			'{"Secret":{"listener":3,"secret":[119],"required":false,"count":1,"seconds":null}}',
			'"Started"',
		})
		local function wrong(call, message, hint)
			local s = stage("moonport.listen(" .. call .. ", function() end)")
			local err = s:err()
			has(err, message)
			if hint then
				has(err, "hint: " .. hint)
			end
			eq(s:exit(), 1)
		end
		wrong("{ inteface = '' }", "unknown option inteface in moonport.listen", "is it interface that is meant?")
		wrong("{ window = { cuont = 1 }, secret = 's' }", "unknown option cuont in window", "is it count that is meant?")
		wrong("{ options = { x = 1 } }", "unknown option x")
		wrong("{ 'x' }", "unknown option")
		wrong("{ name = 5 }", "name in moonport.listen must be a string, not a")
		wrong("{ window = { count = 1 } }", "a window needs a secret")
		wrong("{ window = {}, secret = 's' }", "window has no count")
		wrong("{ window = { count = 0 }, secret = 's' }", "count in window must be a whole number from 1 on")
		wrong("{ secret = ('x'):rep(40) }", "too long")
	end,

	["i8_no_secret_in_reports"] = function()
		local s = stage("moonport.listen{ secret = 'canary' .. ('x'):rep(30), callback = function() end }")
		has(s:err(), "too long")
		hasnt(s:err(), "canary")
		local s = stage([[
			l = net_listen("demo", function(source, status) print(status.message) end)
			print(message_target(l, "canary"), message_target(l, "1:canary\0"), message_target(l, "z:canary"))
			error("uncaught")
		]])
		s:turn()
		hasnt(s:err(), "canary")
		hasnt(s:out(), "canary")
	end,

	["windows are told"] = function()
		local s = stage([[
			net_listen("demo", function(source, status)
				if status.kind == "window" then print(status.event, status.left, status.id, status.label) end
			end)
		]])
		for _, event in ipairs({ "Opened", "Resumed", "Enrolled", "Spent", "Expired", "Closed", "Guessed", "Failed" }) do
			s:host(('{"Window":{"listener":1,"event":"%s","left":3,"window":255,"label":"x"}}'):format(event))
		end
		s:host('{"Failure":{"listener":1,"message":"m"}}')
		s:turn()
		eq((table.concat(s:out(), " "):gsub("3\t00000000000000ff\tx", "T")), "opened\tT resumed\tT enrolled\tT spent\tT expired\tT closed\tT guessed\tT failed\tT")
	end,

	["a request that waits when its listener has ended is answered"] = function()
		local s = stage("net_listen('demo', function(source, status) if status.kind == 'terminated' then delete_image(source) end end)")
		s:up(1)
		s:said()
		s:host('{"Ended":{"listener":1,"last_words":""}}')
		s:request(1, 7)
		eq(s:said(), { '{"Decide":{"session":7,"accept":false}}' })
	end,
}
