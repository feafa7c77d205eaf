-- moonport: globals stage connected eq has hasnt
local function adopt(session, channel, title)
	return ('{"Adopt":{"segment":{"session":%d,"channel":%d},"kind":10,"title":"%s","guid":[0,0],"carries":"Events","registered":true,"active":true}}'):format(
		session,
		channel,
		title
	)
end

local function survivors(link, ...)
	local peers = {}
	for i, session in ipairs({ ... }) do
		peers[i] = ('{"session":%d,"name":"demo","key":null,"endpoint":"[::1]:%d"}'):format(session, session)
	end
	return ('{"Adopt":{"listener":%d,"survivors":[%s]}}'):format(link, table.concat(peers, ","))
end

return {
	["survivors are offered, primaries first; true keeps, anything else closes"] = function()
		local s = stage([[
			net_listen("demo", function() end)
			function show_adopt(vid, kind, title, parent, more)
				print(title, kind, valid_vid(parent), more)
				if title == "leave" then return false end
				if title == "keep" then
					target_updatehandler(vid, function(v, status) print(title, status.kind, status.title or status.message) end)
				end
				return true
			end
		]])
		s:host(survivors(1, 7, 8, 9))
		s:link(1, adopt(7, 1, "sub"))
		s:link(1, adopt(8, 0, "leave"))
		s:link(1, adopt(9, 0, "keep"))
		s:event(9, '{"Message":{"text":"hi","multipart":false}}')
		s:turn()
		eq(s:out(), {
			"leave\tapplication\tfalse\ttrue",
			"keep\tapplication\tfalse\ttrue",
			"sub\tapplication\tfalse\tfalse",
			"keep\tregistered\tkeep",
			"keep\tmessage\thi",
		})
		local sent = s:sent()
		has(sent, '1 {"Close":{"segment":{"session":8,"channel":0},"last_words":""}}')
		has(sent, '1 {"Target":{"segment":{"session":9,"channel":0},"event":{"Reset":2}}}')
		hasnt(sent, "Activate")
	end,

	["who a client is stays known, and its session's number the same, also of its other segments"] = function()
		local s = stage([[
			net_listen("demo", function() end)
			function show_adopt(vid)
				local peer = moonport.peer(vid)
				print(peer.session, peer.name, peer.key, peer.endpoint)
				return true
			end
			print(moonport.peer(1), moonport.peer(BADID))
		]])
		eq(s:out(), { "nil\tnil" })
		s:host(
			'{"Adopt":{"listener":1,"survivors":[{"session":1234567,"name":"lamp","key":[9,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"endpoint":"192.0.2.1:5"}]}}'
		)
		local segment = adopt(1234567, 0, "one")
		s:link(1, segment)
		s:link(1, (segment:gsub('"channel":0', '"channel":1')))
		s:turn()
		local one = "1234567\tlamp\tCQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\t192.0.2.1:5"
		eq(s:out(), { one, one })
	end,

	["a subsegment knows its adopted parent"] = function()
		local s = stage([[
			net_listen("demo", function() end)
			function show_adopt(vid, kind, title, parent) if title == "sub" then print(parent == first) else first = vid end return true end
		]])
		s:host(survivors(1, 7))
		s:link(1, adopt(7, 0, "main"))
		s:link(1, adopt(7, 1, "sub"))
		s:turn()
		eq(s:out(), { "true" })
	end,

	["without NAME_adopt, or with an error in it, survivors are closed"] = function()
		for _, code in ipairs({ "", "function show_adopt() error('x') end" }) do
			local s = stage("net_listen('demo', function() end) " .. code)
			s:host(survivors(1, 7))
			s:link(1, adopt(7, 0, "main"))
			s:turn()
			has(s:sent(), '"Close"')
		end
	end,

	["i1_a_frameserver_cannot_invent_survivors"] = function()
		local s = stage([[
			net_listen("demo", function() end)
			function show_adopt(vid, kind, title) print(title) return true end
		]])
		s:up(1)
		s:host(survivors(2, 7))
		s:link(1, adopt(6, 0, "on a listener's link"))
		s:link(1, adopt(7, 0, "on another link"))
		s:link(2, adopt(8, 0, "one that the host does not know"))
		s:link(2, adopt(7, 0, "a survivor"))
		s:turn()
		eq(s:out(), { "a survivor" })
	end,

	["an adopted segment begins without flags and gets its size"] = function()
		local s = stage([[
			net_listen("demo", function() end)
			function show_adopt(vid)
				target_updatehandler(vid, function(v, status)
					print(status.kind, status.message)
					if status.kind == "registered" then target_flags(v, TARGET_LIMITSIZE, 5, 5) target_verbose(v) end
				end)
				return true
			end
		]])
		s:host(survivors(1, 7))
		s:link(1, adopt(7, 0, "main"))
		s:link(
			1,
			'{"Resized":{"segment":{"session":7,"channel":0},"width":10,"height":10,"origin_ll":false,"text":false}}'
		)
		s:turn()
		eq(s:out(), { "registered\tnil", "failure\twithheld: 10 x 10 is larger than 5 x 5" })
		has(s:sent(), '1 {"Flags":{"segment":{"session":7,"channel":0},"verbose":true,"block_adopt":false}}')
	end,
}
