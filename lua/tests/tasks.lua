-- moonport: globals stage connected eq has hasnt
-- Tasks: coroutines that wait for segments, listeners and times.

-- A script that is one task; `l` is its listener's object.
local function script(body)
	return [[
		moonport.task(function()
			l = moonport.segment(net_listen("demo", "lo", 6680))
	]] .. body .. [[
		end)
	]]
end

-- An accept loop that serves each client by a task of its own.
local function server(serve)
	return serve .. script([[
		while true do
			local client, request = l:accept()
			if not client then return print("listener", request) end
			moonport.task(serve, client, request)
		end
	]])
end

local ECHO = [[
	function serve(client)
		for ev in client:events() do
			if ev.kind == "message" and ev.text then
				if ev.text == "bad" then error("oops") end
				if ev.text == "close" then client:close() end
				client:send("you said " .. ev.text)
			end
		end
		print("over")
	end
]]

local function up(source, options)
	local s = stage(source, options)
	s:up(1)
	eq(s:err(), "")
	return s
end

local function client(s, session)
	s:request(1, session)
	s:register(session)
	s:said()
	s:sent()
	s:out()
end

return {
	["a client is accepted by a task inside the listener's callback, and served by another"] = function()
		local s = up(server(ECHO))
		s:request(1, 7)
		has(s:said(), '{"Decide":{"session":7,"accept":true}}')
		s:register(7)
		has(s:sent(), '"Activate"')
		s:message(7, "moon")
		has(s:sent(), "you said moon")
		s:terminate(7)
		eq(s:out(), { "over" })
		eq(s:err(), "")
	end,

	["i4_an_error_in_a_task_ends_its_client_and_no_other"] = function()
		local s = up(server(ECHO))
		client(s, 7)
		client(s, 8)
		s:message(7, "bad")
		has(s:sent(), '1 {"Close":{"segment":{"session":7,"channel":0},"last_words":"script error"}}')
		local err = s:err()
		has(err, "show.lua:4: oops")
		has(err, "in: the task started at show.lua:16, of client of")
		has(err, "so: this segment is ended")
		has(err, "stack traceback")
		s:message(8, "moon")
		has(s:sent(), "you said moon")
		s:request(1, 9)
		has(s:said(), '{"Decide":{"session":9,"accept":true}}')
	end,

	["i4_an_error_before_the_first_wait_denies"] = function()
		local s = up(server("function serve(client) client:send('hi') error('no') end"))
		s:request(1, 7)
		has(s:said(), '{"Decide":{"session":7,"accept":false}}')
		has(s:err(), "so: this client is turned away; the script goes on")
		eq(s:sent(), {})
		s:request(1, 8)
		has(s:said(), '{"Decide":{"session":8,"accept":false}}')
	end,

	["i4_an_error_in_an_accept_loop_denies_and_ends_the_loop"] = function()
		local s = up(script("while true do l:accept() error('no') end"))
		s:request(1, 7)
		has(s:said(), '{"Decide":{"session":7,"accept":false}}')
		has(s:err(), "this client is turned away")
		s:request(1, 8)
		has(s:said(), '{"Decide":{"session":8,"accept":false}}')
		eq(s:exit(), nil)
	end,

	["an error in a task as the script starts ends the script"] = function()
		local s = stage(script("error('no')"))
		eq(s:exit(), 1)
		has(s:err(), "in: the task started at show.lua:1")
	end,

	["classic and strict: an error in a task ends the script"] = function()
		for _, mode in ipairs({ "classic", "strict" }) do
			local s = up(server(ECHO), { mode = mode })
			client(s, 7)
			s:message(7, "bad")
			eq(s:exit(), 1)
		end
	end,

	["classic: NAME_fatal_handover drops the task alone"] = function()
		local s = up(server(ECHO) .. "function show_fatal_handover() return true end", { mode = "classic" })
		client(s, 7)
		s:message(7, "bad")
		eq(s:exit(), nil)
		hasnt(s:sent(), "Close")
	end,

	["expect gives the status, or why not"] = function()
		local s = up(server([[
			function serve(client)
				print(client:expect("registered").title)
				print(client:expect("message", 100).text)
				print(client:expect("message", 100))
				print(client:expect("terminated").last_words)
				print(client:expect("terminated"))
							end
		]]))
		s:request(1, 7)
		s:register(7, "anna")
		s:message(7, "one")
		eq(s:out(), { "anna", "one" })
		s:turn(99)
		eq(s:out(), {})
		s:turn(1)
		eq(s:out(), { "nil\ttimeout" })
		s:terminate(7)
		eq(s:out(), { "", "nil\tterminated" })
		eq(s:err(), "")
	end,

	["what comes while a task is busy is kept, and its credit with it"] = function()
		local s = up(server([[
			function serve(client)
				client:expect("registered")
				moonport.sleep(1000)
				for ev in client:events() do print(ev.kind, ev.message) end
				print("over")
			end
		]]))
		s:request(1, 7)
		s:register(7)
		has(s:sent(), '"Activate"')
		s:message(7, "one")
		s:message(7, "two")
		s:terminate(7)
		eq(s:out(), {})
		hasnt(s:sent(), "Credit")
		s:turn(1000)
		eq(s:out(), { "preroll\tnil", "privdrop\tnil", "message\tone", "message\ttwo", "over" })
		eq(s:err(), "")
	end,

	["a client whose tasks have ended is like one without a callback"] = function()
		local s = up("held = {}" .. server("function serve(client) held[1] = client client:expect('registered') end"))
		client(s, 7)
		s:message(7, "one")
		has(s:sent(), '{"Credit":{"segment":{"session":7,"channel":0},"events":1}}')
		s:terminate(7)
		eq(s:get("over"), nil)
	end,

	["a client whose object is gone is like one without a callback"] = function()
		local s = up(server("function serve(client) client:send('bye') end") .. [[
			function show_clock_pulse() for i = 1, 2000 do local t = { {}, {} } end end
		]])
		s:request(1, 7)
		s:register(7)
		has(s:sent(), '"Activate"')
		s:message(7, "one")
		local credit = ""
		for _ = 1, 400 do
			s:turn(25)
			credit = credit .. table.concat(s:sent())
		end
		has(credit, "Credit")
	end,

	["a request waits until the loop accepts again"] = function()
		local s = up(script([[
			l:accept()
			moonport.sleep(50)
			print(l:accept())
		]]))
		s:request(1, 7)
		s:request(1, 8)
		s:said()
		s:turn(50)
		has(s:said(), '{"Decide":{"session":8,"accept":true}}')
	end,

	["a listener that ends or is deleted ends the wait"] = function()
		local s = up(server(ECHO))
		s:host('{"Ended":{"listener":1,"last_words":"gone"}}')
		s:turn()
		eq(s:out(), { "listener\tterminated" })
		local s = up([[
			function show_clock_pulse() l:close() show_clock_pulse = nil end
		]] .. script([[
			local ok, why = pcall(l.accept, l)
			print(ok, tostring(why))
			error(why, 0)
		]]))
		s:turn(25)
		has(s:out(), "was deleted")
		eq(s:err(), "")
	end,

	["a loop over a deleted client ends, and the task goes on"] = function()
		local s = up(server(ECHO))
		client(s, 7)
		s:message(7, "close")
		eq(s:out(), { "over" })
		has(s:sent(), "Close")
		eq(s:err(), "")
	end,

	["any waits for the first of several"] = function()
		local s = up(script([[
			local a, b = l:accept(), l:accept()
			while true do
				local who, ev, why = moonport.any(a, b, 100)
				print(who == a and "a" or who == b and "b", type(ev) == "table" and (ev.text or ev.kind) or ev, why)
				if why then return end
			end
		]]))
		s:request(1, 7)
		s:request(1, 8)
		s:message(7, "early")
		s:register(8)
		eq(s:out(), { "b\tregistered\tnil", "b\tpreroll\tnil", "b\tprivdrop\tnil" })
		s:register(7)
		s:out()
		s:message(8, "moon")
		s:message(7, "sun")
		eq(s:out(), { "b\tmoon\tnil", "a\tsun\tnil" })
		s:turn(100)
		eq(s:out(), { "false\ttimeout\tnil" })
		s:terminate(7)
		eq(s:out(), { "a\tnil\tterminated" })
	end,

	["any accepts for a listener"] = function()
		local s = up(script([[
			local who, client, request = moonport.any(l, 1000)
			print(who == l, client.vid, request.kind)
			print(moonport.any(l, 10))
		]]))
		s:request(1, 7)
		has(s:out(), "segment_request")
		has(s:said(), '"accept":true')
		s:turn(10)
		eq(s:out(), { "nil\ttimeout" })
		s:request(1, 8)
		has(s:said(), '{"Decide":{"session":8,"accept":false}}')
	end,

	["a callback and tasks hear the same"] = function()
		local s = connected([[
			net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					local vid = accept_target(function(source, status) print("callback", status.kind) end)
					moonport.task(function(client)
						for ev in client:events() do print("task", ev.kind) end
					end, moonport.segment(vid))
				end
			end)
		]])
		s:out()
		s:message(7, "x")
		eq(s:out(), { "callback\tmessage", "task\tmessage" })
	end,

	["waiting is for tasks"] = function()
		local s = stage("function main() print(pcall(moonport.sleep, 5)) end")
		has(s:out(), "moonport.sleep: only a task can wait")
		local s = stage([[moonport.task(function()
			print(coroutine.resume(coroutine.create(function() moonport.sleep(1) end)))
			print(pcall(moonport.sleep, -1))
			print(pcall(moonport.any, "x"))
			print(pcall(moonport.any))
			print(pcall(moonport.segment(l).send))
			print(pcall(moonport.segment, 5))
		end) l = net_listen("demo", print)]])
		local out = s:out()
		has(out, "only a task can wait")
		has(out, "-1 is not a time")
		has(out, "cannot be waited for")
		has(out, "nothing to wait for")
		has(out, "called with a colon")
		has(out, "vid 5 does not exist")
		has(stage("net_listen('demo')"):err(), "no callback")
	end,

	["pcall around a wait works"] = function()
		local s = stage([[moonport.task(function()
			print(pcall(function() moonport.sleep(10) error("after", 0) end))
			print("done")
		end)]])
		s:turn(10)
		eq(s:out(), { "false\tafter", "done" })
	end,

	["whoever resumes a waiting task wakes nobody"] = function()
		local s = stage([[moonport.task(function()
			co = coroutine.running()
			moonport.sleep(10)
			print("awake")
		end)
		function show_clock_pulse() print(coroutine.resume(co)) end]])
		s:turn()
		eq(s:out(), {})
		s:turn(5)
		s:turn(5)
		eq(s:out(), { "awake" })
	end,

	["a script that replaces globals breaks no task"] = function()
		local s = up([[
			for _, name in ipairs({ "coroutine", "string", "table" }) do
				for key in pairs(_G[name]) do _G[name][key] = nil end
			end
			select, type, unpack, setmetatable, next, accept_target = nil
			print(getmetatable(moonport.segment(net_listen("demo", print))))
		]] .. server(ECHO):gsub("net_listen%(", "net_listen("))
		s:out()
		s:request(2, 7)
		has(s:said(), '{"Decide":{"session":7,"accept":true}}')
	end,

	["i12_each_resume_of_a_task_has_its_time_and_no_more"] = function()
		local s = up(server([[
			function serve(client)
				for ev in client:events() do
					if ev.text == "loop" then while true do pcall(error) end end
				end
			end
		]]), { stop_ms = 30 })
		client(s, 7)
		client(s, 8)
		s:message(7, "loop")
		has(s:sent(), '"session":7,"channel":0},"last_words":"script error"')
		has(s:err(), "ran for more than 30ms")
		s:request(1, 9)
		has(s:said(), '"accept":true')
	end,

	["tasks that start tasks without end do not keep the host waiting"] = function()
		local s = stage("function f() n = (n or 0) + 1 moonport.task(f) end f()")
		s:turn()
		eq(s:sleeps(), 0)
		local s = stage("for i = 1, 20000 do if not pcall(moonport.task, print) then n = i break end end")
		eq(s:get("n"), 10002)
	end,

	["after and every"] = function()
		local s = stage([[
			moonport.after(30, function() print("once") end)
			every = moonport.every(20, function()
				n = (n or 0) + 1
				print("every", n)
				if n == 2 then error("oops") end
				if n == 4 then print(every:cancel(), every:cancel()) end
			end)
			never = moonport.after(10, print)
			print(never:cancel())
		]])
		eq(s:out(), { "true" })
		eq(s:sleeps(), 20)
		s:turn(20)
		eq(s:sleeps(), 10)
		s:turn(10)
		eq(s:out(), { "every\t1", "once" })
		s:turn(10)
		eq(s:out(), { "every\t2" })
		has(s:err(), "in: the timer set at show.lua:2")
		-- Late: what was missed is left out.
		s:turn(500)
		eq(s:out(), { "every\t3" })
		s:turn(20)
		eq(s:out(), { "every\t4", "true\tfalse" })
		s:turn(500)
		eq(s:out(), {})
		has(stage("print(pcall(moonport.every, 0, print))"):out(), "is not a time")
		has(stage("for i = 1, 10001 do moonport.after(5, print) end"):err(), "more than 10000 timers")
	end,

	["a survivor is served by a task"] = function()
		local s = up(server(ECHO) .. [[
			function show_adopt(vid)
				moonport.task(serve, moonport.segment(vid))
				return true
			end
		]])
		s:host('{"Adopt":{"listener":1,"survivors":[{"session":7,"name":"demo","key":null,"endpoint":"[::1]:5"}]}}')
		s:link(1, '{"Adopt":{"segment":{"session":7,"channel":0},"kind":10,"title":"t","guid":[0,0],"carries":"Events","registered":true,"active":true}}')
		s:turn()
		s:message(7, "moon")
		has(s:sent(), "you said moon")
	end,
}
