-- moonport: globals stage connected eq has hasnt
-- What somebody at a prompt has a script do.

local SCRIPT = [[
	count = 0
	function show()
		l = net_listen("demo", "lo", 6680, function(source, status)
			if status.kind == "segment_request" then
				c = accept_target(function(source, status) last = status.kind end)
			end
		end)
	end
]]

local number = 0

-- Says what is wanted; gives its number.
local function ask(s, lua, what)
	number = number + 1
	lua = lua:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n"):gsub("\t", " ")
	s:host(('{"Evaluate":{"evaluation":%d,"asked":{"%s":"%s"}}}'):format(number, what or "Chunk", lua))
	return number
end

-- What it comes to at once.
local function evaluate(s, lua, what)
	s:said()
	ask(s, lua, what)
	s:turn()
	return s:said()
end

local function values(...)
	local shown = {}
	for i = 1, select("#", ...) do
		shown[i] = '"' .. select(i, ...) .. '"'
	end
	return ('{"Evaluated":[%d,{"Ok":[%s]}]}'):format(number, table.concat(shown, ","))
end

local function up(options)
	local s = stage(SCRIPT, options)
	s:up(1)
	s:said()
	return s
end

return {
	["an expression gives its values, and a chunk what it returns"] = function()
		local s = up()
		eq(evaluate(s, "1 + 1, nil, 'x'"), { values("2", "nil", '\\"x\\"') })
		eq(evaluate(s, "count = 7"), { values() })
		eq(evaluate(s, "local a = count return a"), { values("7") })
		eq(evaluate(s, "-- nothing"), { values() })
		eq(evaluate(s, "count -- with a word"), { values("7") })
		eq(s:err(), "")
	end,

	["what is printed is said, and printed"] = function()
		local s = up()
		local said = evaluate(s, "print('a', 1) print('b') return 5")
		eq(said, { ('{"Said":[%d,{"Printed":"a\\t1\\nb\\n"}]}'):format(number), values("5") })
		eq(s:out(), { "a\t1", "b" })
	end,

	["warnings are told there, and here"] = function()
		local s = up()
		has(evaluate(s, "warning('careful')"), '"Reported":{"severity":"Warning","message":"')
		has(s:err(), "careful")
	end,

	["an error is told to who has asked, and to nobody else, in every mode"] = function()
		for _, mode in ipairs({ "isolate", "classic", "strict" }) do
			local s = up({ mode = mode })
			for lua, told in pairs({
				["error('secret')"] = "repl:1: secret",
				["x ="] = "repl:1: unexpected symbol near '<eof>'",
				["nosuch()"] = "there is no function nosuch",
				["delete_image('x')"] = "repl:1: delete_image",
				["pcall(accept_target) count = 'on'"] = mode == "classic" and "accept_target" or '"Ok"',
				["moonport.segment(99)"] = "moonport.segment",
				["NOSUCH + 1"] = "repl:1",
				["coroutine.yield() error('never')"] = "",
				["moonport.task(5)"] = "moonport.task",
			}) do
				local said = evaluate(s, lua)
				if told ~= "" then
					has(said, told)
				end
			end
			eq(s:err(), "")
			eq(s:exit(), nil)
			eq(evaluate(s, "1"), { values("1") })
		end
	end,

	["it waits as a task does"] = function()
		local s = up()
		s:request(1, 7)
		s:register(7)
		eq(evaluate(s, "moonport.sleep(100) return 'slept'"), {})
		s:turn(50)
		eq(s:said(), {})
		s:turn(60)
		eq(s:said(), { values('\\"slept\\"') })
		eq(evaluate(s, "moonport.segment(c):expect('message', 1000).message"), {})
		s:message(7, "moon")
		eq(s:said(), { values('\\"moon\\"') })
		eq(s:get("last"), "message")
		eq(evaluate(s, "moonport.segment(c):expect('message')"), {})
		local waits = number
		ask(s, "delete_image(c)")
		s:turn()
		s:turn()
		local said = s:said()
		has(said, ('{"Evaluated":[%d,{"Err":'):format(waits))
		has(said, "was deleted")
	end,

	["callbacks do not wait for somebody who has looked in"] = function()
		local s = up()
		s:request(1, 7)
		s:register(7)
		evaluate(s, "seg = moonport.segment(c) return seg:expect('message', 10)")
		s:turn(20)
		has(s:said(), "timeout")
		evaluate(s, "seg:expect('message', -1)")
		evaluate(s, "moonport.any(seg, 10)")
		evaluate(s, "for status in seg:events() do end")
		s:host(('{"Cancel":%d}'):format(number))
		s:turn(20)
		s:message(7, "moon")
		eq(s:get("last"), "message")
		s:terminate(7)
		eq(s:get("last"), "terminated")
	end,

	["what comes for a client that was accepted at the prompt is kept for it"] = function()
		local s = up()
		evaluate(s, "target_updatehandler(l, function() end)")
		evaluate(s, "a = moonport.segment(l):accept()")
		s:request(1, 7)
		s:register(7)
		s:message(7, "moon")
		has(evaluate(s, "a:expect('message').text"), "moon")
	end,

	["a client is accepted at the prompt"] = function()
		local s = up()
		evaluate(s, "target_updatehandler(l, function() end)")
		evaluate(s, "a = moonport.segment(l):accept() return a.vid > 0")
		s:request(1, 7)
		local said = s:said()
		has(said, '{"Decide":{"session":7,"accept":true}}')
		has(said, '"Ok":["true"]')
	end,

	["one that is cancelled ends, wherever it is"] = function()
		local s = up()
		local function cancel()
			s:host(('{"Cancel":%d}'):format(number))
			s:turn()
			local said = s:said()
			has(said, ('{"Evaluated":[%d,{"Err":'):format(number))
			has(said, '"message":"cancelled"')
			-- Once.
			s:host(('{"Cancel":%d}'):format(number))
			s:turn(5000)
			hasnt(s:said(), '"Evaluated"')
			eq(s:get("count"), 0)
		end
		evaluate(s, "moonport.sleep(1000) count = 1")
		cancel()
		evaluate(s, "moonport.segment(l):expect('window') count = 1")
		cancel()
		evaluate(s, "coroutine.yield() count = 1")
		cancel()
		-- It has not even begun.
		ask(s, "count = 1")
		cancel()
		eq(s:err(), "")
		eq(evaluate(s, "count"), { values("0") })
	end,

	["i12_an_endless_loop_at_the_prompt_is_stopped"] = function()
		local s = up({ stop_ms = 50 })
		for _, lua in ipairs({
			"while true do end",
			"while true do pcall(function() while true do end end) end",
			"print('x') while true do count = 5 end",
		}) do
			local said = evaluate(s, lua)
			has(said, "ran for more than 50ms")
			has(said, '"severity":"Stopped"')
		end
		eq(s:exit(), nil)
		eq(evaluate(s, "count"), { values("5") })
	end,

	["memory that is used up at the prompt is told, and given back"] = function()
		local s = up({ memory_mib = 16 })
		has(evaluate(s, "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end"), "not enough memory")
		eq(s:exit(), nil)
		eq(evaluate(s, "1"), { values("1") })
	end,

	["names are told without running anything"] = function()
		local s = up()
		evaluate(s, "setmetatable(_G, {__index = error, __pairs = error}) next, pairs = nil, nil")
		has(evaluate(s, "", "Names"), '"net_listen"')
		has(evaluate(s, "", "Names"), '"count"')
		has(evaluate(s, "moonport.json", "Names"), '"decode"')
		eq(evaluate(s, "no.such", "Names"), { values() })
	end,

	["what it leaves behind is the script's"] = function()
		local s = up()
		eq(evaluate(s, "moonport.after(10, function() print('late') end) moonport.task(print, 'task') return 1"), { values("1") })
		s:turn(25)
		eq(s:out(), { "task", "late" })
		eq(s:said(), {})
		evaluate(s, "shutdown('bye', 3)")
		s:turn()
		eq(s:exit(), 3)
	end,
}
