-- moonport: globals stage connected eq has hasnt
local function prints(source, options)
	local s = stage(source, options)
	return s:out(), s:err(), s
end

return {
	["what is not allowed is absent"] = function()
		local out, err = prints([[
			for _, name in ipairs({"io", "package", "module", "load", "loadfile", "dofile", "loadstring",
				"xpcall", "rawequal", "collectgarbage", "getfenv", "setfenv", "newproxy", "jit", "ffi", "gcinfo"}) do
				if rawget(_G, name) ~= nil then print(name) end
			end
			for _, name in ipairs({"exit", "getenv", "execute", "remove", "rename", "tmpname", "setlocale"}) do
				if os[name] ~= nil then print("os", name) end
			end
			print(string.dump, ("").dump, table.move, debug.getinfo, debug.sethook)
		]])
		eq(err, "")
		eq(out, { "nil\tnil\tnil\tnil\tnil" })
	end,

	["what is allowed is there"] = function()
		local out, err = prints([[
			print(bit.band(6, 3), math.floor(1.5), ("%d"):format(7), #os.date(), type(os.clock()), table.concat({1, 2}, "-"))
			print(type(debug.traceback()), select("#", unpack({1, 2, 3})), _G == _G._G)
			local co = coroutine.wrap(function() coroutine.yield(1) end)
			print(co(), nil, {} ~= nil, BADID, WORLDID, TARGET_DRAINQUEUE, CLOCKRATE, APPLID)
			print()
		]])
		eq(err, "")
		eq(#out, 3)
		eq(out[2], "string\t3\ttrue")
		eq(out[3], "1\tnil\ttrue\t0\t-1\t14\t25\tshow")
	end,

	["waiting works inside pcall and iterators"] = function()
		local out, err = prints([[
			local co = coroutine.create(function()
				pcall(function() coroutine.yield("in pcall") end)
				for x in function() return coroutine.yield("in iterator") end do end
				return "done"
			end)
			print(coroutine.resume(co))
			print(coroutine.resume(co))
			print(coroutine.resume(co))
		]])
		eq(err, "")
		eq(out, { "true\tin pcall", "true\tin iterator", "true\tdone" })
	end,

	["require reads the own folder and nothing else"] = function()
		local out, err = prints(
			[[
			local a = require("lib.a")
			print(a.name, a == require("lib.a"), require("plain"))
			print(pcall(require, "../secret"))
			print(pcall(require, "missing"))
			print(pcall(require, "binary"))
			print(pcall(require, "loop"))
		]],
			{
				files = {
					["lib/a.lua"] = "return { name = ... }",
					["plain.lua"] = "x = 1",
					["binary.lua"] = string.dump(function() end), -- moonport: ignore
					["loop.lua"] = "require('loop')",
				},
			}
		)
		eq(err, "")
		eq(out[1], "lib.a\ttrue\ttrue")
		has(out[2], "is not the name of a module")
		has(out[3], "missing.lua")
		has(out[4], "bytecode")
		has(out[5], "requires itself")
	end,

	["util does what its names say"] = function()
		local out, err = prints([[
			print(util.to_base64("hello"), util.from_base64("aGVsbG8="), util.from_base64("?"))
			print(util.hash("abc"), util.hash("abc", "djb"), #util.random_bytes(5))
			local low, high = 9, 0
			for i = 1, 1000 do
				local x = util.random_interval(3, 6)
				low, high = math.min(low, x), math.max(high, x)
			end
			print(low, high, pcall(util.random_interval, 3, 3))
		]])
		eq(err, "")
		eq(out[1], "aGVsbG8=\thello\tnil")
		eq(out[2], "193485963\t193485963\t5")
		has(out[3], "3\t5\tfalse\tshow.lua:")
	end,

	["the documented shapes of arguments are checked"] = function()
		local out = prints([[
			print(pcall(valid_vid, "x"))
			print(pcall(delete_image, "x"))
			print(pcall(message_target, 1))
			print(pcall(target_input, 1, true))
			print(valid_vid(), valid_vid(0), valid_vid(5), valid_vid(WORLDID))
		]])
		has(out[1], "bad argument #1 (vid: number expected, got string)")
		has(out[2], "false\tshow.lua:2: delete_image: bad argument #1 (vid: number expected, got string)")
		has(out[3], "bad argument #2 (text: string expected, got no value)")
		has(out[4], "bad argument #2")
		eq(out[5], "false\tfalse\tfalse\ttrue")
	end,

	["i12_a_loop_that_never_ends_is_stopped"] = function()
		for _, loop in ipairs({
			"while true do end",
			"while true do pcall(function() while true do end end) end",
			"pcall(function() while true do end end) after = true",
			"local co = coroutine.create(function() while true do end end) coroutine.resume(co) after = true",
			"while true do pcall(error, {}) end",
		}) do
			local s = stage(
				"function show_clock_pulse() if not went then went = true " .. loop .. " else again = true end end",
				{ stop_ms = 30 }
			)
			s:turn(25)
			has(s:err(), "stopped: it ran for more than")
			eq(s:get("after"), nil)
			s:turn(25)
			eq(s:get("again"), true)
			eq(s:exit(), nil)
		end
	end,

	["i12_memory_has_an_end"] = function()
		local s = stage([[
			function show_clock_pulse()
				if CLOCK == 1 then local t = {} while true do t[#t + 1] = ("x"):rep(10000) .. #t end end
				alive = true
			end
		]], { memory_mib = 16 })
		s:turn(25)
		has(s:err(), "not enough memory")
		s:turn(25)
		eq(s:get("alive"), true)
		local s = stage([[
			t = {}
			function show_clock_pulse() while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
		]], { memory_mib = 16 })
		s:turn(25)
		local err = s:err()
		has(err, "its memory stays full: the script is started again")
		has(err, "error: show.lua:2: not enough memory")
		eq(s:exit(), 1)
		hasnt(s:said(), "Exit")
	end,

	["a script without an entry point, one with main, an appl"] = function()
		eq(stage("print(...)"):out(), {})
		eq(stage("function main(args) print(args[1], #args) end"):out(), { "one\t2" })
		eq(stage("function main() print('no') end function show(args) print(args[2]) end"):out(), { "two" })
		eq(stage("function show(args) print(appl_arguments()[1]) end", { directory = true }):out(), { "one" })
		local s = stage("function main() end", { directory = true })
		eq(s:exit(), 1)
		has(s:err(), "has no function show()")
		eq(stage("#!/usr/bin/env moonport\nprint(1)"):out(), { "1" })
	end,

	["a script that is called what a function of ours is has its own entry points"] = function()
		local s = stage("print(get_key('x'))", { appl = "get_key" })
		eq(s:out(), { "nil" })
		eq(s:err(), "")
		local s = stage("local old = get_key function get_key(args) print(args[1], old('x')) end", { appl = "get_key" })
		eq(s:out(), { "one\tnil" })
		eq(stage("function main(args) print(args[2]) end", { appl = "shutdown" }):out(), { "two" })
		has(stage("", { appl = "print", directory = true }):err(), "has no function print()")
	end,

	["a missing script and a syntax error get one clear line"] = function()
		local s = stage("", { program = "nope.lua" })
		eq(s:exit(), 1)
		has(s:err(), "nope.lua: No such file")
		has(s:said(), '{"Exit":{"code":1,"silent":false,"message":""}}')
		local s = stage("x = = 1")
		eq(s:exit(), 1)
		has(s:err(), "error: show.lua:1: unexpected symbol near '='")
		hasnt(s:err(), "stack traceback")
	end,

	["print gives readable text"] = function()
		eq(stage("print(1, nil, true, 'a b', setmetatable({}, {__tostring = function() return 'T' end}))"):out(), {
			"1\tnil\ttrue\ta b\tT",
		})
	end,

	["shutdown lets the callback finish, dispatches the rest, then lands"] = function()
		local s = stage([[
			function show_shutdown(t) print("landing", type(t)) end
			shutdown("bye\27", 3)
			print("goes on")
		]])
		eq(s:exit(), nil)
		s:turn()
		eq(s:exit(), 3)
		eq(s:out(), { "goes on", "landing\ttable" })
		has(s:said(), '{"Exit":{"code":3,"silent":false,"message":"bye"}}')
		local s = stage("shutdown('', EXIT_SILENT)")
		s:turn()
		has(s:said(), '{"Exit":{"code":0,"silent":true,"message":""}}')
	end,

	["the host's stop lands too"] = function()
		local s = stage("function show_shutdown() print('landing') end")
		eq(s:said(), { '"Started"' })
		s:host('"Stop"')
		s:turn()
		eq(s:out(), { "landing" })
		eq(s:exit(), 0)
	end,

	["warnings are told, without what could command a terminal"] = function()
		eq(stage("warning('careful\7') warning('')"):err(), "warning: careful\n")
	end,
}
