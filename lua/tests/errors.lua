-- moonport: globals stage connected eq has hasnt
-- On the raw stage: other modes of errors, limits, and what is said to the host. The rest is in played/errors.lua.
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
