local TAKE = [[
	net_listen("demo", function(source, status)
		if status.kind == "segment_request" then
			accept_target(function(source, status)
				last = status.kind
				if status.message == "bad" then
					error("oops")
				end
			end)
		end
	end)
]]

return {
	["isolate: an error in a client's callback ends that segment, others live on"] = function()
		local s = connected(TAKE)
		s:request(1, 8)
		s:register(8)
		s:sent()
		s:message(7, "bad")
		has(s:sent(), '1 {"Close":{"segment":{"session":7,"channel":0},"last_words":"script error"}}')
		local err = s:err()
		has(err, "error: show.lua:6: oops")
		has(err, 'in: the callback of client of "demo" from 192.0.2.7:4000, on message')
		has(err, "so: this segment is ended")
		has(err, "stack traceback")
		eq(s:get("last"), "terminated")
		s:message(8, "good")
		eq(s:get("last"), "message")
		eq(s:exit(), nil)
	end,

	["an error in preroll denies: no ACTIVATE"] = function()
		local s = stage([[
			net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					accept_target(function(source, status) if status.kind == "preroll" then error("no") end end)
				end
			end)
		]])
		s:up(1)
		s:request(1, 7)
		s:register(7)
		local sent = s:sent()
		hasnt(sent, "Activate")
		has(sent, "Close")
	end,

	["isolate: a failing clock pulse is reported and goes on"] = function()
		local s = stage("function show_clock_pulse() n = (n or 0) + 1 undefined_function() end")
		s:turn(25)
		s:turn(25)
		eq(s:get("n"), 2)
		local err = s:err()
		has(err, "show.lua:1: ")
		has(err, "in: show_clock_pulse()")
		has(err, "hint: there is no function undefined_function")
	end,

	["hints name what was probably meant"] = function()
		has(stage("net_lisen(print)"):err(), "is it net_listen that is meant?")
		has(stage("local t = nil; t.x = 1"):err(), "hint: it is nil here")
		has(stage("delete_image(77)"):err(), "hint: it was deleted or never made")
	end,

	["errors while loading or in the entry point end with 1"] = function()
		local s = stage("function main() error('no') end")
		eq(s:exit(), 1)
		has(s:said(), '{"Exit":{"code":1,"silent":false,"message":""}}')
		hasnt(s:said(), "Started")
		local err = s:err()
		has(err, "error: show.lua:1: no")
		has(err, "in: main()")
		eq(stage("error('no')"):exit(), 1)
		eq(stage("error({})"):exit(), 1)
	end,

	["classic: an uncaught error ends the script with 1, unless handed over"] = function()
		local s = connected(TAKE, { mode = "classic" })
		s:message(7, "bad")
		eq(s:exit(), 1)
		local s = connected(TAKE .. [[
			function show_fatal(text) seen = text return "rewritten" end
			function show_fatal_handover(text) over = text return true end
		]], { mode = "classic" })
		s:message(7, "bad")
		eq(s:exit(), nil)
		has(s:get("seen"), "show.lua:6: oops")
		eq(s:get("over"), "rewritten")
		hasnt(s:sent(), "Close")
		s:message(7, "good")
		eq(s:get("last"), "message")
	end,

	["classic: misuse of the API does not ask NAME_fatal"] = function()
		local s = stage([[
			function show_fatal() asked = true end
			function show_clock_pulse() delete_image(77) end
		]], { mode = "classic" })
		s:turn(25)
		eq(s:get("asked"), nil)
		eq(s:exit(), 1)
	end,

	["isolate: misuse can be caught"] = function()
		local s = stage("print(pcall(delete_image, 77))")
		has(s:out(), "false\tshow.lua:1: delete_image: vid 77 does not exist")
		eq(s:exit(), nil)
		eq(stage("local co = coroutine.create(function() delete_image(77) end) print(type(select(2, coroutine.resume(co))))"):out(), { "string" })
	end,

	["strict: any uncaught error and any unknown upper-case global end the script"] = function()
		local s = connected(TAKE, { mode = "strict" })
		s:message(7, "bad")
		eq(s:exit(), 1)
		local s = stage("print(CRASH_SOURCE, lower) pcall(function() return TARGET_VERBOS end)", { mode = "strict" })
		eq(s:exit(), 1)
		local err = s:err()
		has(err, "there is no constant TARGET_VERBOS")
		has(err, "is it TARGET_VERBOSE that is meant?")
		eq(stage("MINE = 1 print(MINE)", { mode = "strict" }):out(), { "1" })
		eq(stage("print(TARGET_VERBOS)"):out(), { "nil" })
	end,

	["an error on landing does not keep the script from ending"] = function()
		local s = stage("function show_shutdown() error('x') end shutdown()")
		s:turn()
		eq(s:exit(), 0)
		has(s:err(), "in: show_shutdown()")
	end,

	["reports do not command the terminal"] = function()
		hasnt(stage("error('a\27[2Jb')"):err(), "\27")
	end,

	["a callback that never ends is stopped and its client ended: i12"] = function()
		local s = connected([[
			net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					accept_target(function(source, status)
						heard = status.kind
						if status.message == "loop" then while true do pcall(error) end end
					end)
				end
			end)
		]], { stop_ms = 30 })
		s:request(1, 8)
		s:register(8)
		s:sent()
		s:message(7, "loop")
		has(s:sent(), '"session":7,"channel":0},"last_words":"script error"')
		s:message(8, "fine")
		eq(s:get("heard"), "message")
		eq(s:exit(), nil)
	end,
}
