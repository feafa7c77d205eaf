-- Segments of clients, played by `moonport test` with real clients. Credit, pictures, what comes in one turn, and
-- what a broken frameserver might say are in ../segments.lua: only a frameserver played by hand can say it.

-- A listener that takes everybody; `hear(vid, status)` is what the test's script defines.
local TAKE = [[
	order = ""
	function hear() end
	l = net_listen("demo", function(source, status)
		if status.kind == "segment_request" then
			vid = accept_target(function(source, status)
				order = order .. status.kind .. " "
				hear(source, status)
			end)
		end
	end)
	function show_clock_pulse() if todo then local f = todo todo = nil f() end end
]]

local function taken(body, options)
	local app = moonport.script(TAKE .. (body or ""))
	return app:connect("demo", options), app
end

moonport.test("ACTIVATE follows without a handler", function()
	local app = moonport.script([[
		net_listen("demo", function(s, st) if st.kind == "segment_request" then accept_target() end end)
	]])
	app:connect("demo"):expect("activate")
end)

moonport.test("suspend_target in preroll holds ACTIVATE until resume_target", function()
	local anna, app = taken([[
		function hear(v, status)
			if status.kind == "preroll" then suspend_target(v) todo = function() resume_target(v) end end
		end
	]])
	anna:heard_nothing("activate")
	app:advance(25)
	anna:expect("activate")
end)

moonport.test("suspend_target later keeps events until resume_target", function()
	local anna, app = taken([[
		function hear(v, status)
			if status.kind == "message" then print(status.message) end
			if status.message == "a" then suspend_target(v) todo = function() resume_target(v) end end
		end
	]])
	anna:message("a")
	anna:message("b")
	anna:message("c")
	eq(app:output(), { "a" })
	anna:expect("pause")
	app:advance(25)
	anna:message("d")
	eq(app:output(), { "b", "c", "d" })
	anna:expect("unpause")
end)

moonport.test("message_target splits at character borders, and the client has it whole", function()
	local anna, app = taken([[
		function todo()
			print(message_target(vid, ("€"):rep(333) .. "x"), message_target("order is free", vid))
			print(message_target(vid, ""), message_target(vid, "\255"))
		end
	]])
	app:advance(25)
	eq(app:output(), { "0\t0", "0\t-1" })
	anna:expect("message", ("€"):rep(333) .. "x")
	anna:expect("message", "order is free")
end)

moonport.test("a repeated registration changes the title, not the kind", function()
	local anna, app = taken([[
		function hear(v, status)
			if status.kind == "registered" then print(status.title, status.segkind) end
		end
	]], { title = "t" })
	anna:expect("activate")
	anna:say("registered", "new")
	eq(app:output(), { "t\tapplication", "new\tapplication" })
	anna:heard_nothing("activate")
end)

moonport.test("a request without a handler, or not accepted, is rejected", function()
	local anna, app = taken("function todo() target_updatehandler(vid, nil) end")
	app:advance(25)
	anna:say("segment_request", "popup")
	eq(anna:expect("requestfailed"), "RequestFailed(1)")
	local bert = taken()
	bert:say("segment_request", "popup")
	bert:say("segment_request", "icon")
	eq(bert:expect("requestfailed"), "RequestFailed(1)")
	eq(bert:expect("requestfailed"), "RequestFailed(2)")
end)

moonport.test("a subsegment: opened, registered, and gone with its parent one tick later", function()
	local anna, app = taken([[
		function hear(v, status)
			if status.kind == "segment_request" then
				local aid, cookie
				sub, aid, cookie = accept_target(function(v, status)
					print("sub", status.kind, target_parent(v) == vid)
				end)
				print(sub > 0, aid, cookie > 0, status.segkind, status.width, target_parent(v))
				message_target(sub, "early")
			end
		end
	]])
	anna:say("segment_request", "popup")
	anna:expect("segment", "popup")
	anna:expect("message@1", "early")
	anna:expect("activate@1")
	eq(app:output(), {
		"true\t0\ttrue\tpopup\t640\t0",
		"sub\tregistered\ttrue",
		"sub\tpreroll\ttrue",
		"sub\tprivdrop\ttrue",
	})
	anna:close()
	app:advance(25)
	eq(app:output(), { "sub\tterminated\ttrue" })
end)
