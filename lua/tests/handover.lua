-- moonport: globals stage connected eq has hasnt bytes peer without_credit
-- What one process of a script leaves to the next.

local SEGMENT = '"segment":{"session":7,"channel":0}'

local function piece(s, text, ends)
	s:link(1, ('{"Piece":{%s,"bytes":%s,"ends":"%s"}}'):format(SEGMENT, bytes(text), ends))
end

local function back(text, ends)
	return ('1 {"Back":{"Piece":{%s,"bytes":%s,"ends":"%s"}}}'):format(SEGMENT, bytes(text), ends)
end

-- What is left behind, without credit.
local function left(s)
	eq(s:settle() or "", "")
	s:sent()
	s:leave()
	return without_credit(s)
end

local function replier(body)
	return peer(
		"zmtp",
		"fleet",
		"status.protocol",
		body,
		'"carries":{"Messages":{"socket":"rep","most":1000,"high_water":2}},"anonymous":false,"scheme":"Zmtp",'
			.. '"zmtp":{"socket_type":"req","identity":[],"properties":[]}'
	)
end

local function stream(body)
	local about = '"carries":{"Stream":{"writable":true}},"anonymous":false,"scheme":"CurveCp","zmtp":null'
	return peer("curvecp", "box", "status.protocol", body, about)
end

return {
	["a request that has been heard and not answered is asked of the next process, before what came since"] = function()
		local s = replier("function hear(source, status) if status.kind == 'message' then print(status.parts[1]) end end")
		s:out()
		piece(s, "first", "Part")
		piece(s, "request", "Message")
		s:turn()
		eq(s:out(), { "first" })
		piece(s, "later", "Message")
		eq(left(s), { back("first", "Part"), back("request", "Message"), back("later", "Message") })
	end,

	["a request that has been answered is not asked again"] = function()
		local s = replier("function hear(source, status) if status.message then moonport.send(source, 'answer') end end")
		piece(s, "request", "Message")
		s:turn()
		eq(left(s), {})
	end,

	["a stream that nobody has read to its end goes over with what the end was"] = function()
		for _, failed in ipairs({ "true", "false" }) do
			local s = stream([[
				function hear(source, status)
					if status.kind == "preroll" then moonport.stream(source) end
					if status.kind == "eof" then print(status.failed) end
				end
			]])
			s:out()
			piece(s, "unread", "Nothing")
			s:link(1, ('{"Finished":{%s,"failed":%s}}'):format(SEGMENT, failed))
			s:turn()
			eq(s:out(), { failed })
			eq(left(s), {
				back("unread", "Nothing"),
				('1 {"Back":{"Finished":{%s,"failed":%s}}}'):format(SEGMENT, failed),
			})
		end
	end,

	["a stream that was read to its end and is finished has no end for the next process"] = function()
		local s = stream([[
			function hear(source, status)
				if status.kind == "preroll" then moonport.stream(source) end
				if status.kind == "eof" then
					for line in moonport.stream(source):lines() do print(line) end
					moonport.finish(source)
				end
			end
		]])
		s:out()
		piece(s, "read", "Nothing")
		s:link(1, ('{"Finished":{%s,"failed":false}}'):format(SEGMENT))
		s:turn()
		eq(s:out(), { "read" })
		eq(left(s), {})
	end,

	["what tasks have been given they hear, however many there are"] = function()
		local s = connected([[
			heard = 0
			net_listen("demo", "lo", 6680, function(_, status)
				if status.kind ~= "segment_request" then return end
				accept_target(function(_, status)
					if status.kind ~= "message" then return end
					for _ = 1, 2000 do moonport.task(function() heard = heard + 1 end) end
				end)
			end)
		]])
		s:message(7, "go")
		eq(s:get("heard") < 2000, true)
		eq(s:settle() or "", "")
		eq(s:get("heard"), 2000)
	end,

	["what no task has heard is given back in order"] = function()
		local s = connected([[
			moonport.task(function()
				local client = moonport.segment(net_listen("demo", "lo", 6680)):accept()
				for status in client:events() do
					if status.kind == "message" then moonport.sleep(1000) end
				end
			end)
		]])
		for _, text in ipairs({ "one", "two", "three" }) do
			s:message(7, text)
		end
		local given = left(s)
		eq(#given, 2)
		has(given[1], '"text":"two"')
		has(given[2], '"text":"three"')
	end,

	["a connection is closed behind what was said on it, and what came on it is heard"] = function()
		local s = stage([[
			vid = moonport.connect({ address = "zmtp://]] .. ("09"):rep(32) .. [[@[::1]:5560" }, function(source, status)
				print(status.kind, status.message)
				if status.message then
					for _ = 1, 130 do moonport.send(source, "last") end
				end
			end)
		]])
		s:up(1)
		s:link(1, ('{"Connected":{%s}}'):format(SEGMENT))
		s:turn()
		s:out()
		piece(s, "first", "Message")
		eq(s:settle() or "", "")
		eq(s:out(), { "message\tfirst" })
		s:leave()
		local sent = without_credit(s)
		eq(#sent, 131)
		has(sent[127], '1 {"Piece"')
		has(sent[128], '1 {"Rest":{"Piece"')
		eq(sent[131], ('1 {"Close":{%s,"last_words":""}}'):format(SEGMENT))
	end,
}
