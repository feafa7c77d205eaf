-- moonport: globals stage connected eq has hasnt bytes peer without_credit
-- Streams of bytes, as clients of CurveCP have them.

local SEGMENT = '"segment":{"session":7,"channel":0}'

-- A listener of curvecp with one client, accepted.
local stage_peer = peer
local function peer(body, anonymous)
	local about = '"carries":{"Stream":{"writable":true}},"anonymous":%s,"scheme":"CurveCp","zmtp":null'
	local shows = "status.protocol, status.anonymous, status.zmtp_identity"
	return stage_peer("curvecp", "box", shows, body, about:format(tostring(anonymous or false)))
end

-- What the client says; `go` is called when it is "go".
local HEAR = [[
	function hear(source, status)
		if status.data == "go" then
			return go()
		end
		print(status.kind, status.segkind, status.data, status.failed)
	end
]]

local function data(s, text)
	s:link(1, ('{"Piece":{%s,"bytes":%s,"ends":"Nothing"}}'):format(SEGMENT, bytes(text)))
end

local function eof(s, failed)
	s:link(1, ('{"Finished":{%s,"failed":%s}}'):format(SEGMENT, tostring(failed)))
end

local function credit(s, events)
	s:link(1, ('{"Credit":{%s,"events":%d}}'):format(SEGMENT, events))
	s:turn()
end

local function go(s)
	data(s, "go")
	s:out()
	s:sent()
	s:turn()
end

local sent = without_credit

local function piece(text)
	return ('1 {"Piece":{%s,"bytes":%s,"ends":"Nothing"}}'):format(SEGMENT, bytes(text))
end

return {
	["a client is there as soon as it is taken, with what it speaks"] = function()
		local s = peer(HEAR)
		eq(s:out(), { "curvecp\tfalse\tnil", "registered\tstream\tnil\tnil", "preroll\tstream\tnil\tnil" })
		eq(s:err(), "")
		eq(peer(HEAR, true):out()[1], "curvecp\ttrue\tnil")
	end,

	["bytes come as data, and then the end, once"] = function()
		local s = peer(HEAR)
		s:out()
		data(s, "a\0b")
		data(s, "c")
		eof(s, false)
		eof(s, true)
		s:turn()
		eq(s:out(), { "data\tnil\ta\0b\tnil", "data\tnil\tc\tnil", "eof\tnil\tnil\tfalse" })
		has(s:sent(), '"events":2}}')
	end,

	["a failure of the client is told"] = function()
		local s = peer(HEAR)
		s:out()
		eof(s, true)
		s:turn()
		eq(s:out(), { "eof\tnil\tnil\ttrue" })
	end,

	["moonport.write takes any bytes, and moonport.finish ends the stream"] = function()
		local s = peer(HEAR .. [[
			function go()
				print(moonport.write(vid, "a\0b"), moonport.write(vid, ""), message_target(vid, "text"))
				moonport.finish(vid)
				print(pcall(moonport.write, vid, "x"))
				print(pcall(moonport.finish, vid))
			end
		]])
		go(s)
		local out = s:out()
		eq(out[1], "3\t0\t0")
		has(out[2], "has been finished")
		has(out[3], "has been finished")
		eq(sent(s), { piece("a\0b"), piece("text"), ('1 {"Finish":{%s,"failed":false}}'):format(SEGMENT) })
	end,

	["a failure of ours is sent after what was written"] = function()
		local s = peer(HEAR .. "function go() moonport.write(vid, 'x') moonport.finish(vid, true) end")
		go(s)
		eq(sent(s), { piece("x"), ('1 {"Finish":{%s,"failed":true}}'):format(SEGMENT) })
	end,

	["i10_a_client_that_does_not_read_is_told_no_and_drained_when_it_does"] = function()
		local s = peer(HEAR .. [[
			function go()
				local taken, chunk = 0, ("x"):rep(1000)
				for _ = 1, 100000 do
					local now = moonport.write(vid, chunk)
					if not now then break end
					taken = taken + now
				end
				print(taken)
			end
		]])
		go(s)
		-- What is under way, and a mebibyte that waits, in large pieces.
		eq(s:out(), { tostring(127 * 1000 + 1048576) })
		eq(#sent(s), 127)
		credit(s, 1)
		eq(s:out(), {})
		credit(s, 20)
		eq(s:out(), { "drain\tnil\tnil\tnil" })
		eq(#sent(s), 18)
		credit(s, 20)
		eq(s:out(), {})
	end,

	["a stream object reads what has come, by bytes and by lines"] = function()
		local s = peer([[
			function hear(source, status)
				if status.kind == "preroll" then
					stream = moonport.stream(source)
				elseif status.kind == "data" then
					print("data", status.data)
					for line in stream:lines() do print("line", line) end
				elseif status.kind == "eof" then
					print(stream:read(1), stream:read(), stream:read())
					print(stream:write("bye"))
					stream:finish()
				end
			end
		]])
		s:out()
		data(s, "one\ntw")
		s:turn()
		eq(s:out(), { "data\tnil", "line\tone" })
		data(s, "o\n\nthree")
		s:turn()
		eq(s:out(), { "data\tnil", "line\ttwo", "line\t" })
		eof(s, false)
		s:turn()
		eq(s:out(), { "t\three\tnil", "3" })
		eq(sent(s), { piece("bye"), ('1 {"Finish":{%s,"failed":false}}'):format(SEGMENT) })
	end,

	["i7_a_stream_that_nobody_reads_is_not_paid_for"] = function()
		local s = peer([[
			function hear(source, status)
				if status.kind == "preroll" then stream = moonport.stream(source) end
			end
		]])
		for _ = 1, 8 do
			data(s, ("x"):rep(60000))
		end
		s:turn()
		has(s:sent(), '"events":5}}')
		data(s, "y")
		s:turn()
		eq(s:sent(), {})
	end,

	["closing a stream object ends the client, once"] = function()
		local s = peer(HEAR .. "function go() local s = moonport.stream(vid) s:close() s:close() print(valid_vid(vid)) end")
		go(s)
		eq(s:out(), { "false" })
		has(s:sent(), "Close")
		eq(s:err(), "")
	end,

	["what cannot be done says why"] = function()
		local s = connected([[
			l = net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					accept_target(function(source, status)
						if status.kind == "message" then
							print(pcall(moonport.write, source, "x"))
							print(pcall(moonport.finish, source))
							print(pcall(moonport.stream, source))
						end
					end)
				end
			end)
		]])
		s:out()
		s:message(7, "go")
		for _, line in ipairs(s:out()) do
			has(line, "no client with a stream")
		end
		s = peer(HEAR .. [[
			function go()
				print(moonport.write(BADID, "x"), moonport.finish(BADID), moonport.read(BADID))
				print(pcall(moonport.read, vid, "lines"))
				print(pcall(moonport.read, vid, -1))
				print(pcall(moonport.send, vid, "x"))
			end
		]])
		go(s)
		local out = s:out()
		has(out[1], "false")
		has(out[2], '"line"')
		has(out[3], "-1 is not a number of bytes")
		has(out[4], "no messages of parts")
	end,

	["an adopted client hears of its end again, and is not written to after ours"] = function()
		local s = stage([[
			function show_adopt(vid, kind)
				print("adopt", kind)
				target_updatehandler(vid, function(source, status)
					print(status.kind, status.failed)
					if status.kind == "eof" then print(pcall(moonport.write, source, "x")) end
				end)
				return true
			end
		]])
		s:host('{"Adopt":{"listener":9,"survivors":[{"session":7,"name":"demo","key":null,"endpoint":"[::1]:5"}]}}')
		s:link(
			9,
			('{"Adopt":{%s,"kind":0,"title":"","guid":[0,0],"carries":{"Stream":{"writable":false}},"registered":true,"active":true}}'):format(SEGMENT)
		)
		s:link(9, ('{"Finished":{%s,"failed":false}}'):format(SEGMENT))
		s:turn()
		local out = s:out()
		eq(out[1], "adopt\tstream")
		eq(out[2], "registered\tnil")
		eq(out[3], "eof\tfalse")
		has(out[4], "has been finished")
	end,

	["options of a curvecp listener"] = function()
		local s = stage([[
			moonport.listen({ interface = "curvecp://lo", port = 5, options = {
				server_name = "a.b", extension = "31415926535897932384626433832795", idle_s = 20, anonymous = true,
			} }, function() end)
		]])
		eq(s:err(), "")
		has(
			s:said(),
			'"options":{"CurveCp":{"server_name":"a.b","extension":[49,65,89,38,83,88,151,147,35,132,98,100,51,131,39,149],"idle":{"secs":20,"nanos":0},"anonymous":true}}'
		)
		local function wrong(options, message)
			local s = stage(("moonport.listen({ interface = 'curvecp://', port = 5, %s }, function() end)"):format(options))
			has(s:err(), message)
			eq(s:exit(), 1)
		end
		wrong("options = { server_name = ('x'):rep(64) }", "63 bytes")
		wrong("options = { extension = 'abc' }", "32 hex digits")
		wrong("options = { idle_s = 0 }", "from 1 on")
		wrong("options = { anonymus = true }", "anonymous")
		wrong("secret = 'x'", "no field for a secret")
	end,
}
