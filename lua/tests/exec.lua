-- moonport: globals stage connected eq has hasnt
local LISTEN = [[
	function client(source, status)
		print(status.kind, status.failed, status.code, status.signal)
	end
	net_listen("demo", function(_, status)
		if status.kind == "segment_request" then
			vid = accept_target(client)
			BODY
		end
	end)
]]

local function listening(body)
	return stage((LISTEN:gsub("BODY", (body:gsub("%%", "%%%%")))))
end

local function request(s, carries)
	s:host(
		('{"Request":{"listener":1,"session":7,"key":null,"tags":"","endpoint":"127.0.0.1:5","new":false,"carries":%s,"anonymous":false,"scheme":"A12","zmtp":null}}'):format(
			carries or '{"Stream":{"writable":true}}'
		)
	)
	s:turn()
end

local EXITED = '{"Exited":{"segment":{"session":7,"channel":0},"exit":%s}}'

return {
	["a program is asked for before the client is decided on"] = function()
		local s = listening([[print(moonport.exec(vid, { "/bin/cat", "-u" }))]])
		request(s)
		eq(s:out()[1], "true")
		local said = s:said()
		eq(said[#said - 1], '{"Exec":{"session":7,"argv":[[47,98,105,110,47,99,97,116],[45,117]],"framing":"Lines"}}')
		eq(said[#said], '{"Decide":{"session":7,"accept":true}}')
		eq(s:err(), "")
	end,

	["what cannot be is an error that can be caught"] = function()
		local s = listening([[
			print(pcall(moonport.exec, vid, { "/bin/sh" }))
			print(pcall(moonport.exec, vid, { "cat" }))
			print(pcall(moonport.exec, vid, {}))
			print(pcall(moonport.exec, vid, { "/bin/cat", "a\0b" }))
			print(pcall(moonport.exec, vid, { "/bin/cat", {} }))
			print(pcall(moonport.exec, vid, { "/bin/cat" }, { framing = "length" }))
			print(pcall(moonport.exec, vid, { "/bin/cat" }, { farming = "line" }))
			print(moonport.exec(77, { "/bin/cat" }))
			print(pcall(moonport.exec, vid, { "/bin/cat" }))
			print(pcall(moonport.exec, vid, { "/bin/cat" }))
			print(pcall(moonport.write, vid, "x"))
		]])
		request(s)
		local out = s:out()
		has(out[1], "/bin/sh may not be started by scripts")
		has(out[2], "cat may not be started by scripts")
		has(out[3], "argv is empty")
		has(out[4], "a byte 0")
		has(out[5], "must be strings")
		has(out[6], "framing is for clients of zmtp")
		has(out[7], "unknown option farming in moonport.exec")
		eq(out[8], "false")
		eq(out[9], "true\ttrue")
		has(out[10], "talks with this client already")
		has(out[11], "a program writes this stream")
		eq(s:err(), "")
	end,

	["the end of a program is told once, and the client is the script's again"] = function()
		local s = listening([[moonport.exec(vid, { "/bin/cat" })]])
		request(s)
		s:out()
		s:link(1, EXITED:format('{"Code":3}'))
		s:link(1, EXITED:format('{"Code":4}'))
		s:turn()
		eq(s:out(), { "exited\ttrue\t3\tnil" })
	end,

	["one that was not started leaves the stream as it was"] = function()
		local s = listening([[moonport.exec(vid, { "/bin/cat" })]])
		request(s)
		s:out()
		s:link(1, EXITED:format('"NotStarted"'))
		s:turn()
		eq(s:out(), { "exited\ttrue\tnil\tnil" })
	end,

	["a client that is turned away after all is decided on all the same"] = function()
		local s = listening([[moonport.exec(vid, { "/bin/cat" }) error("no")]])
		request(s)
		local said = s:said()
		eq(said[#said], '{"Decide":{"session":7,"accept":false}}')
	end,

	["what is not allowed says who can allow it"] = function()
		local s = stage([[moonport.keys.list("other", print)]])
		has(s:err(), "moonport run --allow-keys other")
	end,

	["a program stays with an adopted client"] = function()
		local s = stage([[
			net_listen("demo", function() end)
			function show_adopt(vid)
				target_updatehandler(vid, function(_, status) print(status.kind, status.code) end)
				print(pcall(moonport.exec, vid, { "/bin/cat" }))
				return true
			end
		]])
		s:host('{"Adopt":{"listener":1,"survivors":[{"session":7,"name":"demo","key":null,"endpoint":"[::1]:5"}]}}')
		s:link(1, '{"Adopt":{"segment":{"session":7,"channel":0},"kind":0,"title":"","guid":[0,0],"carries":{"Stream":{"writable":true}},"registered":true,"active":true}}')
		s:link(1, '{"Served":{"segment":{"session":7,"channel":0}}}')
		s:turn()
		has(s:out()[1], "talks with this client already")
		s:link(1, EXITED:format('{"Code":0}'))
		s:turn()
		eq(s:out(), { "exited\t0" })
	end,

	["keys are asked for, and the answer is the only argument"] = function()
		local s = stage([[
			moonport.keys.list("demo", function(status, more)
				print(status.kind, status.ok, status.message, more)
				for _, key in ipairs(status.keys) do
					print(key.key, key.label, key.standing, key.expires, key.elsewhere)
				end
			end)
		]])
		local said = s:said()
		local call = said[1]:match('^{"Keys":{"call":(%d+),"wish":{"List":"demo"}}}$')
		local key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
		local known = ('{"key":"%s","label":%s,"standing":"accepted","expires_ms":%s,"elsewhere":false}')
		local part = '{"Keys":{"call":' .. call .. ',"answer":{"Ok":[%s]},"more":%s}}'
		local ok = pcall(s.host, s, part:format(known:format(key, '"Anna"', "5500"), "true"))
		if not ok then
			known = known:gsub('"%%s"', "%%s", 1)
			key = "[" .. ("7,"):rep(31) .. "7]"
			s:host(part:format(known:format(key, '"Anna"', "5500"), "true"))
		end
		s:turn()
		eq(s:out(), {})
		s:host(part:format(known:format(key, "null", "null"), "false"))
		s:host(part:format("", "false"))
		s:turn()
		local out = s:out()
		eq(out[1], "keys\ttrue\tnil\tnil")
		has(out[2], "\tAnna\taccepted\t5.5\tfalse")
		has(out[3], "\tnil\taccepted\tnil\tfalse")
		eq(#out, 3)
	end,

	["what cannot be asked of the keys is an error that can be caught"] = function()
		local s = stage([[
			local key = ("07"):rep(32)
			print(pcall(moonport.keys.list, "other", print))
			print(pcall(moonport.keys.accept, key, "other"))
			print(pcall(moonport.keys.ban, "nonsense"))
			print(pcall(moonport.keys.expire, key, -1))
			for number = 1, 64 do moonport.keys.ban(key) end
			print(pcall(moonport.keys.ban, key))
		]])
		local out = s:out()
		has(out[1], "the keys of other are not for scripts to administer")
		has(out[2], "the keys of other are not for scripts to administer")
		has(out[3], "key: ")
		has(out[4], "-1 is no time")
		has(out[5], "too many calls at once")
		eq(#s:said(), 65)
	end,

	["each change has its words"] = function()
		local s = stage([[
			local key = ("07"):rep(32)
			moonport.keys.accept(key, "demo")
			moonport.keys.accept(key, "demo", "Anna", print)
			moonport.keys.revoke(key)
			moonport.keys.revoke(key, "demo", print)
			moonport.keys.expire(key, 5)
			moonport.keys.expire(key, print)
			moonport.keys.label(key, "Anna")
			moonport.keys.label(key)
		]])
		local said = s:said()
		has(said[1], '"name":"demo","label":null')
		has(said[2], '"name":"demo","label":"Anna"')
		has(said[3], '"Revoke"')
		has(said[3], '"name":null')
		has(said[4], '"name":"demo"')
		has(said[5], '"at_ms":5000')
		has(said[6], '"at_ms":null')
		has(said[7], '"label":"Anna"')
		has(said[8], '"label":null')
	end,

	["an error in the answer's callback is the script's, and it goes on"] = function()
		local s = stage([[moonport.keys.ban(("07"):rep(32), function(status) error(status.message) end)]])
		local call = s:said()[1]:match('"call":(%d+)')
		s:host('{"Keys":{"call":' .. call .. ',"answer":{"Err":"why not"},"more":false}}')
		s:turn()
		has(s:err(), "why not")
		eq(s:exit(), nil)
	end,
}
