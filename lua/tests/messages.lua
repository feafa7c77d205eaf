-- moonport: globals stage connected eq has hasnt bytes peer without_credit
-- Messages of parts, as clients of ZeroMQ send them.

local MESSAGES = '{"Messages":{"socket":"router","most":1000,"high_water":2}}'

-- A listener of zmtp with one client, accepted; what it hears is printed.
local stage_peer = peer
local function peer(body, carries)
	local shows = 'status.protocol, status.zmtp_socket_type, status.zmtp_identity, status.properties["X-a"]'
	local about =
		'"carries":%s,"anonymous":false,"scheme":"Zmtp","zmtp":{"socket_type":"dealer","identity":%s,"properties":[["X-a",[98]]]}'
	return stage_peer("zmtp", "fleet", shows, body, about:format(carries or MESSAGES, bytes("me")))
end

local function piece(s, text, ends)
	s:link(1, ('{"Piece":{"segment":{"session":7,"channel":0},"bytes":%s,"ends":"%s"}}'):format(bytes(text), ends))
end

-- `go` is called when the peer says so.
local HEAR = [[
	function hear(source, status)
		if status.message == "go" then
			return go()
		end
		print(status.kind, status.segkind, status.message, status.parts and table.concat(status.parts, "|"))
	end
]]

local function go(s)
	piece(s, "go", "Message")
	s:out()
	s:sent()
	s:turn()
end

-- What was sent in messages, without the credit that was handed back.
local function pieces(s)
	local found = {}
	for _, sent in ipairs(s:sent()) do
		if sent:find("Piece", 1, true) then
			found[#found + 1] = sent
		end
	end
	return found
end

return {
	["a peer is shown with what it tells of itself, and is there as soon as it is taken"] = function()
		local s = peer(HEAR)
		eq(s:out(), { "zmtp\tdealer\tme\tb", "registered\tmessages\tnil\tnil", "preroll\tmessages\tnil\tnil" })
		eq(s:err(), "")
	end,

	["a message comes with all its parts, however it was cut"] = function()
		local s = peer(HEAR)
		s:out()
		piece(s, "on", "Nothing")
		piece(s, "e", "Part")
		piece(s, "", "Part")
		s:turn()
		eq(s:out(), {})
		piece(s, "three", "Message")
		piece(s, "next", "Message")
		s:turn()
		eq(s:out(), { "message\tnil\tone\tone||three", "message\tnil\tnext\tnext" })
		-- A message costs by its size, not by its pieces.
		eq(s:sent(), { '1 {"Credit":{"segment":{"session":7,"channel":0},"events":2}}' })
	end,

	["moonport.send sends parts of any content"] = function()
		local s = peer(HEAR .. [[
			function go() print(moonport.send(vid, "a\0b", 5), moonport.send(vid, { "x", "" })) end
		]])
		go(s)
		eq(s:out(), { "true\ttrue" })
		eq(pieces(s), {
			'1 {"Piece":{"segment":{"session":7,"channel":0},"bytes":[97,0,98],"ends":"Part"}}',
			'1 {"Piece":{"segment":{"session":7,"channel":0},"bytes":[53],"ends":"Message"}}',
			'1 {"Piece":{"segment":{"session":7,"channel":0},"bytes":[120],"ends":"Part"}}',
			'1 {"Piece":{"segment":{"session":7,"channel":0},"bytes":[],"ends":"Message"}}',
		})
	end,

	["i10_a_client_that_does_not_read_gets_no_more_than_its_high_water"] = function()
		local s = peer(HEAR .. [[
			function go()
				local sent = 0
				for i = 1, 1000 do
					if moonport.send(vid, "m" .. i) then sent = sent + 1 end
				end
				print(sent)
			end
		]])
		go(s)
		-- What is under way, and two that wait.
		eq(s:out(), { "129" })
		eq(#pieces(s), 127)
		s:link(1, '{"Credit":{"segment":{"session":7,"channel":0},"events":1}}')
		s:turn()
		has(pieces(s), "[109,49,50,56]")
		go(s)
		eq(s:out(), { "1" })
	end,

	["what cannot be sent says why"] = function()
		local function wrong(call, message, carries)
			local s = peer(
				HEAR .. ("function go() print(pcall(function() moonport.send(%s) end)) end"):format(call),
				carries
			)
			go(s)
			has(s:out(), message)
			eq(pieces(s), {})
		end
		wrong("vid", "moonport.send")
		wrong("vid, {}", "at least one part")
		wrong("vid, { true }", "parts must be strings")
		wrong("vid, ('x'):rep(1001)", "larger than the 1000")
		wrong("vid, 'x'", "a socket of type pull does not send", MESSAGES:gsub("router", "pull"))
		local s = peer(HEAR .. "function go() print(moonport.send(BADID, 'x')) end")
		go(s)
		eq(s:out(), { "false" })
		local s = connected([[
			l = net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					vid = accept_target(function(source, status)
						if status.kind == "message" then print(pcall(moonport.send, vid, "x")) end
					end)
				end
			end)
		]])
		s:out()
		s:message(7, "go")
		has(s:out(), "no messages of parts")
	end,

	["a message larger than is allowed ends the client"] = function()
		local s = peer(HEAR)
		s:out()
		for _ = 1, 5 do
			piece(s, ("x"):rep(900), "Nothing")
		end
		s:turn()
		has(s:out(), "terminated")
	end,

	["what is said out of turn is told as failure"] = function()
		local s = peer(HEAR)
		s:out()
		s:link(1, '{"Unsent":{"segment":{"session":7,"channel":0}}}')
		s:turn()
		eq(s:out(), { "failure\tnil\tnot sent: it is not this socket's turn\tnil" })
	end,

	["events of Arcan's are not for such a peer"] = function()
		local s = peer(HEAR .. "function go() target_displayhint(vid, 100, 100) reset_target(vid) end")
		go(s)
		hasnt(s:sent(), "Target")
	end,

	["a connection comes and goes, and what waits is sent when it comes"] = function()
		local s = stage([[
			vid = moonport.connect({ address = "zmtp://]] .. ("09"):rep(32) .. [[@[::1]:5560" }, function(source, status)
				print(status.kind, status.message, status.retry_ms, status.last_words)
			end)
			print(moonport.send(vid, "queued"))
		]])
		eq(s:err(), "")
		has(s:said(), '{"Connect":{"connection":1,"host":"::1","port":5560,"server":[')
		eq(s:out(), { "true" })
		s:host('{"Listening":{"listener":1,"addresses":[]}}')
		s:turn()
		eq(s:out(), {})
		s:host('{"Disconnected":{"connection":1,"why":"refused","retry":{"secs":0,"nanos":100000000}}}')
		s:turn()
		eq(s:out(), { "disconnected\trefused\t100\tnil" })
		eq(s:sent(), {})
		s:link(1, '{"Connected":{"segment":{"session":3,"channel":0}}}')
		s:turn()
		eq(s:out(), { "connected\tnil\tnil\tnil" })
		has(s:sent(), '"Piece":{"segment":{"session":3,"channel":0},"bytes":[113,117,101,117,101,100],"ends":"Message"}')
		s:link(1, '{"Piece":{"segment":{"session":3,"channel":0},"bytes":[104,105],"ends":"Message"}}')
		s:link(1, '{"Terminated":{"segment":{"session":3,"channel":0},"last_words":""}}')
		s:host('{"Disconnected":{"connection":1,"why":"gone","retry":{"secs":1,"nanos":0}}}')
		s:turn()
		eq(s:out(), { "message\thi\tnil\tnil", "disconnected\tgone\t1000\tnil" })
		s:host('{"Ended":{"listener":1,"last_words":"refused: key not accepted"}}')
		s:turn()
		eq(s:out(), { "terminated\tnil\tnil\trefused: key not accepted" })
	end,

	["an address that is none says so"] = function()
		local function wrong(address, message)
			local s = stage(("moonport.connect({ address = %q }, function() end)"):format(address))
			has(s:err(), message)
			eq(s:exit(), 1)
		end
		local key = ("09"):rep(32)
		wrong("tcp://" .. key .. "@h:1", "does not begin with zmtp:// or curvecp://")
		wrong("zmtp://h:1", "there is no key")
		wrong("zmtp://short@h:1", "address:")
		wrong("zmtp://" .. key .. "@h", "there is no port")
		wrong("zmtp://" .. key .. "@h:0", "the port is none")
		wrong("zmtp://" .. key .. "@:1", "there is no host")
		wrong("curvecp://h:1/name", "there is no key")
		wrong("curvecp://" .. key .. "@h/name", "there is no port")
		wrong("curvecp://" .. key .. "@h:1/" .. ("x"):rep(64), "the server's name")
	end,

	["a connection with a stream comes and goes, and each time it is another stream"] = function()
		local s = stage([[
			vid = moonport.connect({ address = "curvecp://]] .. ("09"):rep(32) .. [[@h:10000/a.name",
				options = { extension = ("03"):rep(16), own_extension = ("04"):rep(16), idle_s = 5 } },
				function(source, status)
					print(status.kind, status.data, status.message, status.failed)
					if status.kind == "connected" then
						times = (times or 0) + 1
						print(moonport.write(source, "hello"))
						if times == 2 then moonport.finish(source) end
					elseif status.kind == "disconnected" then
						print(moonport.write(source, "in between"))
						moonport.finish(source)
					end
				end)
			print(moonport.write(vid, "early"))
		]])
		eq(s:err(), "")
		has(s:said(), '"options":{"CurveCp":{"server_name":')
		eq(s:out(), { "false" })
		s:host('{"Listening":{"listener":1,"addresses":[]}}')
		s:link(1, '{"Connected":{"segment":{"session":3,"channel":0}}}')
		s:turn()
		eq(s:out(), { "connected\tnil\tnil\tnil", "5" })
		has(s:sent(), '"Piece":{"segment":{"session":3,"channel":0},"bytes":[104,101,108,108,111],"ends":"Nothing"}')
		s:link(1, '{"Piece":{"segment":{"session":3,"channel":0},"bytes":[104,105],"ends":"Nothing"}}')
		s:link(1, '{"Terminated":{"segment":{"session":3,"channel":0},"last_words":""}}')
		s:host('{"Disconnected":{"connection":1,"why":"gone","retry":{"secs":1,"nanos":0}}}')
		s:turn()
		eq(s:out(), { "data\thi\tnil\tnil", "disconnected\tnil\tgone\tnil", "false" })
		s:link(1, '{"Connected":{"segment":{"session":4,"channel":0}}}')
		s:turn()
		eq(s:out(), { "connected\tnil\tnil\tnil", "5" })
		has(s:sent(), '"Finish":{"segment":{"session":4,"channel":0},"failed":false}')
		s:link(1, '{"Finished":{"segment":{"session":4,"channel":0},"failed":false}}')
		s:link(1, '{"Terminated":{"segment":{"session":4,"channel":0},"last_words":""}}')
		s:turn()
		eq(s:out(), { "eof\tnil\tnil\tfalse", "terminated\tnil\tnil\tnil" })
		has(s:said(), '{"Unlisten":1}')
	end,

	["options of a zmtp listener"] = function()
		local s = stage([[
			moonport.listen({ interface = "zmtp://lo", port = 5, options = {
				socket_type = "pub", identity = "id", properties = { ["X-b"] = "2", ["X-a"] = "1" },
				heartbeat_ms = 50, max_message = 9, max_parts = 3, high_water = 4,
			} }, function() end)
		]])
		eq(s:err(), "")
		has(
			s:said(),
			'"options":{"Zmtp":{"socket":{"kind":"pub","identity":[105,100],"properties":[["X-a",[49]],["X-b",[50]]],"topics":[[]],"heartbeat":{"interval":{"secs":0,"nanos":50000000},"timeout":{"secs":0,"nanos":50000000},"ttl":{"secs":0,"nanos":0}},"max_message":9,"max_parts":3},"keyless":false,"high_water":4}}'
		)
		local function wrong(options, message)
			local s = stage(("moonport.listen({ interface = 'zmtp://', port = 5, %s }, function() end)"):format(options))
			has(s:err(), message)
			eq(s:exit(), 1)
		end
		wrong("options = { socket_type = 'stream' }", "socket_type")
		wrong("options = { sokcet_type = 'rep' }", "is it socket_type that is meant?")
		wrong("options = { max_message = 2^31 }", "max_message is at most")
		wrong("options = { high_water = 0 }", "high_water")
		wrong("secret = 's'", "have no field for a secret")
		wrong("window = { count = 1 }", "without_secret = true")
		wrong("secret = 's', window = { count = 1, without_secret = true }", "have no field for a secret")
	end,

	["a window without a secret is for protocols that have none"] = function()
		local s = stage([[
			moonport.listen({ interface = "zmtp://", port = 5, window = { count = 2, without_secret = true } }, function() end)
		]])
		eq(s:err(), "")
		has(s:said(), '"human":false,"without_secret":true,"count":2')
		local s = stage([[
			moonport.listen({ window = { count = 2, without_secret = true } }, function() end)
		]])
		has(s:err(), "without_secret does not go with a secret")
	end,

	["a secret for a zmtp listener is refused"] = function()
		local s = stage([[
			l = net_listen("fleet", "zmtp://", 5, function(source, status) print(status.kind, status.message) end)
			print(message_target(l, "2:sekrit"))
		]])
		eq(s:out(), { "-1" })
		has(s:err(), "have no field for one")
	end,
}
