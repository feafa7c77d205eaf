-- Errors of scripts, played by `moonport test` with real clients. What needs another mode of errors or what
-- the host is told is in ../errors.lua.

local TAKE = [[
	net_listen("demo", function(source, status)
		if status.kind == "segment_request" then
			accept_target(function(source, status)
				print(status.kind)
				if status.message == "bad" then
					error("oops")
				end
			end)
		end
	end)
]]

local function errors(source)
	local app = moonport.script(source)
	return table.concat(app:errors(), "\n"), app
end

local function has(text, part)
	ok(text:find(part, 1, true), "no\n" .. part .. "\nin\n" .. text)
end

moonport.test("an error in a client's callback ends that segment, others live on", function()
	local app = moonport.script(TAKE)
	local anna, bert = app:connect("demo"), app:connect("demo")
	app:output()
	anna:message("bad")
	anna:expect("goodbye", "script error")
	ok(anna:closed())
	local err = table.concat(app:errors(), "\n")
	has(err, "error: show.lua:6: oops")
	has(err, 'in: the callback of client of "demo" from 192.0.2.1:4000, on message')
	has(err, "so: this segment is ended")
	has(err, "stack traceback")
	eq(app:output(), { "message", "terminated" })
	bert:message("good")
	eq(app:output(), { "message" })
	eq(app:exit(), nil)
end)

moonport.test("an error in preroll denies: no ACTIVATE", function()
	local app = moonport.script([[
		net_listen("demo", function(source, status)
			if status.kind == "segment_request" then
				accept_target(function(source, status) if status.kind == "preroll" then error("no") end end)
			end
		end)
	]])
	local anna = app:connect("demo")
	anna:heard_nothing("activate")
	ok(anna:closed())
	eq(#app:errors(), 1)
end)

moonport.test("a failing clock pulse is reported and goes on", function()
	local app = moonport.script("function show_clock_pulse() n = (n or 0) + 1 print(n) undefined_function() end")
	app:advance(50)
	eq(app:output(), { "1", "2" })
	local err = table.concat(app:errors(), "\n")
	has(err, "show.lua:1: ")
	has(err, "in: show_clock_pulse()")
	has(err, "hint: there is no function undefined_function")
end)

moonport.test("hints name what was probably meant", function()
	has(errors("net_lisen(print)"), "is it net_listen that is meant?")
	has(errors("local t = nil; t.x = 1"), "hint: it is nil here")
	has(errors("delete_image(77)"), "hint: it was deleted or never made")
end)

moonport.test("errors while loading end with 1", function()
	for _, source in ipairs({ "error('no')", "error({})", "x = ", "function main() error('no') end" }) do
		local err, app = errors(source)
		eq(app:exit(), 1)
		ok(err ~= "")
	end
end)

moonport.test("misuse can be caught", function()
	local app = moonport.script("print(pcall(delete_image, 77))")
	has(app:output()[1], "false\tshow.lua:1: delete_image: vid 77 does not exist")
	eq(app:exit(), nil)
	local inner = moonport.script([[
		local co = coroutine.create(function() delete_image(77) end)
		print(type(select(2, coroutine.resume(co))))
	]])
	eq(inner:output(), { "string" })
end)

moonport.test("an error on landing does not keep the script from ending", function()
	local err, app = errors("function show_shutdown() error('x') end shutdown()")
	eq(app:exit(), 0)
	has(err, "in: show_shutdown()")
end)

moonport.test("reports do not command the terminal", function()
	eq(errors("error('a\27[2Jb')"):find("\27", 1, true), nil)
end)
