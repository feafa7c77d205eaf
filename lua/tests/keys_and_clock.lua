-- moonport: globals stage connected eq has hasnt
return {
	["keys persist across runs"] = function()
		local s = stage([[
			print(get_key("a1"))
			print(store_key("a1", "one"), store_key({ a2 = 2, b = "x=y\nz", ["bad key"] = "no" }))
			print(table.concat(match_keys("a%"), " "), #match_keys("none"), #get_key("b"))
			print(store_key("bad key", "x"), get_key("bad key"), store_key("k", "v", "target"), pcall(match_keys, "%", 5))
		]])
		local out = s:out()
		eq(out[1], "nil")
		eq(out[2], "true\ttrue")
		eq(out[3], "a1=one a2=2\t0\t5")
		has(out[4], "false\tnil\tfalse\tfalse")
		has(s:err(), '"bad key" cannot be a key')
		eq(s:keys(), "a1 one\na2 2\nb x=y\\nz\n")
		s:restart()
		eq(s:out()[1], "one")
	end,

	["a store that cannot be written: false and a warning"] = function()
		local s = stage("print(store_key('a', ('x'):rep(17 * 1024 * 1024)))")
		eq(s:out(), { "false" })
		has(s:err(), "the key store of this appl is full")
	end,

	["CLOCK advances 40 per second"] = function()
		local s = stage("function show_clock_pulse(clock, n) calls = (calls or 0) + 1 assert(clock == CLOCK and n == 1) end")
		for i = 1, 10 do
			s:turn(100)
		end
		eq(s:get("CLOCK"), 40)
		eq(s:get("calls"), 40)
		eq(s:err(), "")
	end,

	["after a stop of ten seconds the pulse comes once"] = function()
		local s = stage("function show_clock_pulse() calls = (calls or 0) + 1 end")
		s:turn(10000)
		eq(s:get("calls"), 1)
		eq(s:get("CLOCK"), 1)
		s:turn(2500)
		eq(s:get("calls"), 101)
	end,

	["the batch form takes all at once"] = function()
		local s = stage([[
			function show_clock_pulse() wrong = true end
			function show_clock_pulse_batch(clock, n) print(clock, n) end
		]])
		s:turn(100)
		s:turn(10000)
		eq(s:out(), { "4\t4", "5\t1" })
		eq(s:get("wrong"), nil)
	end,

	["ticks come before events, input_end after them"] = function()
		local s = stage([[
			order = ""
			net_listen(function(source, status) order = order .. status.kind .. " " end)
			function show_clock_pulse() order = order .. "tick " end
			function show_input_end() order = order .. "end " end
		]])
		s:turn(25)
		s:turn(25)
		eq(s:get("order"), "tick preroll end tick ")
	end,

	["without a pulse the process sleeps longer"] = function()
		assert(stage("x = 1"):sleeps() > 1000)
		assert(stage("function show_clock_pulse() end"):sleeps() <= 25)
		eq(stage("net_listen(function() end)"):sleeps(), 0)
	end,

	["entry points may be replaced at any time"] = function()
		local s = stage("function show_clock_pulse() show_clock_pulse = function() second = true end end")
		s:turn(25)
		eq(s:get("second"), nil)
		s:turn(25)
		eq(s:get("second"), true)
	end,

	["timestamps"] = function()
		local s = stage("print(benchmark_timestamp() > 1e12, benchmark_timestamp(1) > 1e9, benchmark_timestamp(-1) > 1e15, pcall(benchmark_timestamp, 7)) print(system_identstr())")
		has(s:out(), "true\ttrue\ttrue\tfalse")
	end,
}
