-- Listeners, played by `moonport test` with real clients. What is asserted of messages to the host, and races
-- that only a host can make, are in ../listen.lua.

moonport.test("a request that is not accepted closes only that client", function()
	local app = moonport.script([[
		moonport.listen({ name = "demo", secret = "s", window = { count = 1 } }, function(source, status)
			if status.kind == "segment_request" then
				n = (n or 0) + 1
				print(n)
				if status.a12_new then accept_target() end
			end
		end)
	]])
	local known = app:connect("demo", { key = "anna" })
	local new = app:connect("demo", { secret = "s" })
	ok(known:closed())
	ok(not new:closed())
	eq(app:output(), { "1", "2" })
end)

moonport.test("the request says who it is", function()
	local app = moonport.script([[
		net_listen("demo", function(source, status)
			if status.kind == "segment_request" then
				print(status.segkind, status.width, status.height, status.a12_pubk, status.a12_tags, status.a12_endpoint, status.a12_new)
				print(status.reqid > 0, status.parent > 0, valid_vid(source, TYPE_FRAMESERVER))
			end
		end)
	]])
	local anna = app:connect("demo")
	eq(app:output(), {
		"handover\t0\t0\t" .. anna:key() .. "\tdemo\t192.0.2.1:4000\tfalse",
		"true\ttrue\ttrue",
	})
end)

moonport.test("deleting what was accepted, or the listener, in the same callback", function()
	local app = moonport.script([[
		net_listen("demo", function(source, status)
			if status.kind == "segment_request" then delete_image(accept_target()) end
		end)
	]])
	ok(app:connect("demo"):closed())
	ok(app:listener("demo"))
	app = moonport.script([[
		net_listen("demo", function(source, status)
			if status.kind == "segment_request" then delete_image(source) print(accept_target()) end
		end)
	]])
	ok(app:connect("demo"):closed())
	eq(app:output(), { "0\t0\t0" })
	eq(app:listener("demo"), nil)
end)

moonport.test("a listener that takes one client and is deleted keeps that client", function()
	local app = moonport.script([[
		net_listen("demo", function(source, status)
			if status.kind == "segment_request" then
				accept_target(function(source, status) print(status.kind) end)
				delete_image(source)
				net_listen("next", function() end)
			end
		end)
	]])
	local anna = app:connect("demo")
	eq(app:listener("demo"), nil)
	ok(app:listener("next"))
	app:output()
	anna:message("hi")
	eq(app:output(), { "message" })
end)

moonport.test("preroll comes after the call, registered when it is up", function()
	local app = moonport.script([[
		net_listen("demo", function(source, status) print(status.kind, status.segkind) end)
		print("loaded")
	]])
	eq(app:output(), { "loaded", "preroll\tnetwork-server", "registered\tnetwork-server" })
end)

moonport.test("a script that ends says goodbye to its clients", function()
	local app = moonport.script([[
		net_listen("demo", function(source, status)
			if status.kind == "segment_request" then
				accept_target(function(_, status) if status.kind == "message" then shutdown("bye", 3) end end)
			end
		end)
	]])
	local anna, bert = app:connect("demo"), app:connect("demo")
	anna:message("end")
	eq(app:exit(), 3)
	ok(anna:closed())
	ok(bert:closed())
end)

moonport.test("num:secret is required of everybody, and lets so many in", function()
	local app = moonport.script([[
		local l = net_listen("demo", function(source, status)
			if status.kind == "segment_request" then accept_target() end
		end)
		print(target_input(l, "1:moon"))
	]])
	eq(app:output(), { "0" })
	ok(app:connect("demo"):closed())
	ok(not app:connect("demo", { secret = "moon", key = "anna" }):closed())
	ok(app:connect("demo", { secret = "moon", key = "bert" }):closed())
	ok(not app:connect("demo", { secret = "moon", known = true }):closed())
	ok(not app:connect("demo", { secret = "moon", key = "anna", known = false }):closed())
end)
