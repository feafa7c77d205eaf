-- moonport: globals stage connected eq has hasnt
-- On the raw stage: credit, what comes in one turn, and what a broken frameserver might say. What a client sees is in
-- played/segments.lua.
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
]]

-- Runs Lua at the next tick: `todo` of the script.
local TICK = "\nfunction show_clock_pulse() if todo then local f = todo todo = nil f() end end\n"

local function target(event, session, channel)
	return ('1 {"Target":{"segment":{"session":%d,"channel":%d},"event":%s}}'):format(session or 7, channel or 0, event)
end

-- What the frameserver says of a picture of client 7, and what it is told of flags.
local SIZE =
	'{"Resized":{"segment":{"session":7,"channel":0},"width":%d,"height":%d,"origin_ll":false,"text":false}}'
local FRAME = '{"Frame":{"segment":{"session":7,"channel":0},"number":%d,"at":[1,2],"region":[3,4]}}'

local function flags(verbose, block_adopt)
	return ('1 {"Flags":{"segment":{"session":7,"channel":0},"verbose":%s,"block_adopt":%s}}'):format(
		tostring(verbose),
		tostring(block_adopt)
	)
end

-- Prints what is said of the picture.
local SHOW = [[
	function hear(v, status)
		if status.kind == "resized" then print("resized", status.width, status.height) end
		if status.kind == "frame" then print("frame", status.number) end
		if status.kind == "failure" then print(status.message) end
		if status.message == "go" then go() end
	end
]]

local function take(body)
	return stage(TAKE .. TICK .. (body or ""))
end

local function taken(body, options)
	return connected(TAKE .. TICK .. (body or ""), options)
end

return {
	["registered, preroll, ACTIVATE, then the rest; hints of preroll come before"] = function()
		local s = take([[
			function hear(v, status)
				if status.kind == "preroll" then target_displayhint(v, 640, 480) end
				if status.kind == "privdrop" then message_target(v, "after") end
			end
		]])
		s:up(1)
		s:request(1, 7)
		eq(s:sent(), {})
		s:event(7, '{"Ident":"too early"}')
		s:event(7, '{"Register":{"title":"t","kind":10,"guid":[0,0],"carries":"Events"}}')
		s:event(7, '{"Ident":"x"}')
		s:turn()
		eq(s:get("order"), "registered preroll privdrop ident ")
		eq(s:sent(), {
			target(
				'{"DisplayHint":{"width":640,"height":480,"flags":128,"subpixel":0,"density":0.0,"cell":[0,0],"token":0}}'
			),
			target('"Activate"'),
			target('{"Message":{"text":"after","multipart":false}}'),
			'1 {"Credit":{"segment":{"session":7,"channel":0},"events":3}}',
		})
	end,

	["what is said right after accept_target waits for the client"] = function()
		local s = take([[
			net_listen("two", function(source, status)
				if status.kind == "segment_request" then message_target(accept_target(), "first") end
			end)
		]])
		s:host('{"Listening":{"listener":2,"addresses":[]}}')
		s:request(2, 9)
		eq(s:sent(), {})
		s:event(9, '{"Register":{"title":"t","kind":10,"guid":[0,0],"carries":"Events"}}', 0, 2)
		s:turn()
		has(s:sent()[1], '"first"')
	end,

	["after delete_image of a client there is no terminated"] = function()
		local s = taken("function hear(v, status) if status.message == 'go' then delete_image(v) end end")
		s:event(7, '{"Message":{"text":"go","multipart":false}}')
		s:event(7, '{"Message":{"text":"more","multipart":false}}')
		s:turn()
		has(s:sent(), '1 {"Close":{"segment":{"session":7,"channel":0},"last_words":""}}')
		s:terminate(7)
		eq(s:get("order"), "registered preroll privdrop message ")
		eq(s:err(), "")
	end,

	["after terminated a vid is a dead picture"] = function()
		local s = taken([[
			function hear(v, status)
				if status.kind ~= "terminated" then return end
				print(valid_vid(v), valid_vid(v, TYPE_FRAMESERVER), target_input(v, {kind = "digital", active = true}), message_target(v, "x"))
				print(pcall(target_displayhint, v, 1, 1))
				print(status.last_words)
				delete_image(v)
				print(valid_vid(v), pcall(delete_image, v))
			end
		]])
		s:terminate(7, 0, "no more than thirty-one bytes of this")
		local out = s:out()
		eq(out[1], "true\tfalse\t0\t-1")
		has(out[2], "has ended")
		eq(out[3], "no more than thirty-one bytes o")
		has(out[4], "false\tfalse\tshow.lua:")
		has(out[4], "was deleted at show.lua:18")
	end,

	["pcall catches a Lua error, and in classic mode not the fatal one"] = function()
		local s = taken([[
			function hear(v, status)
				if status.message == "go" then
					delete_image(v)
					caught = pcall(delete_image, "x")
					pcall(delete_image, v)
					after = true
				end
			end
		]], { mode = "classic" })
		s:message(7, "go")
		eq(s:get("caught"), false)
		eq(s:get("after"), nil)
		eq(s:exit(), 1)
		has(s:err(), "delete_image: vid")
	end,

	["message_target splits at character borders: 1000 bytes of three-byte characters"] = function()
		local s = taken([[
			function todo()
				print(message_target(vid, ("€"):rep(333) .. "x"), message_target("order is free", vid), message_target(vid, ""), message_target(vid, "\255"))
			end
		]])
		s:turn(25)
		eq(s:out(), { "0\t0\t0\t-1" })
		local text, parts = "", s:sent()
		for i = 1, 14 do
			local part, multipart = parts[i]:match('"text":"(.-)","multipart":(%a+)')
			assert(#part <= 77)
			eq(multipart, tostring(i < 14))
			text = text .. part
		end
		eq(text, ("€"):rep(333) .. "x")
		has(parts[15], "order is free")
		eq(#parts, 15)
	end,

	["a text of up to 64 KiB goes whole or not at all, and nothing is cut short by what comes after it"] = function()
		local s = taken([[
			function todo()
				print(message_target(vid, ("x"):rep(65536)), message_target(vid, "more"))
				target_displayhint(vid, 1, 1)
				for i = 1, 100 do target_flags(vid, TARGET_VERBOSE) reset_target(vid) suspend_target(vid, true) end
			end
		]])
		s:turn(25)
		eq(s:out(), { "0\t4" })
		local bytes = 0
		for turn = 1, 20 do
			for _, sent in ipairs(s:sent()) do
				local text, multipart = sent:match('"Message":{"text":"(x+)","multipart":(%a+)}')
				if text then
					bytes = bytes + #text
					eq(multipart, tostring(bytes < 65536))
				end
			end
			s:link(1, '{"Credit":{"segment":{"session":7,"channel":0},"events":127}}')
			s:turn()
		end
		eq(bytes, 65536)
	end,

	["a full queue: of a longer text what is left is returned, and credit brings it back"] = function()
		local s = taken([[
			function todo() print(message_target(vid, ("x"):rep(77 * 1000))) print(target_input(vid, {kind = "digital"})) end
		]])
		s:turn(25)
		-- 127 slots, one taken by ACTIVATE.
		eq(s:out(), { tostring(77 * (1000 - 126)), "0" })
		eq(#s:sent(), 126)
		s:link(1, '{"Credit":{"segment":{"session":7,"channel":0},"events":1000}}')
		s:host('{"Failure":{"listener":1,"message":""}}')
		s:turn()
		s:get("vid")
	end,

	["credit is handed back as events are dispatched, and more than the credit is ignored: i9"] = function()
		local s = taken("function hear(v, status) if status.kind == 'message' then n = (n or 0) + 1 end end")
		for i = 1, 2000 do
			s:event(7, '{"Message":{"text":"x","multipart":false}}')
		end
		local back, turns = 0, 0
		while s:sleeps() == 0 do
			s:turn()
			turns = turns + 1
			for _, said in ipairs(s:sent()) do
				back = back + said:match('^1 {"Credit":{"segment":{"session":7,"channel":0},"events":(%d+)}}$')
			end
			eq(back, s:get("n"))
		end
		eq(back, 512)
		-- The client goes on before the script is through.
		eq(turns > 1, true)
	end,

	["i9_what_a_frameserver_says_of_others_is_ignored"] = function()
		local s = taken([[
			net_listen("two", function() end)
			function show_adopt() adopted = true end
		]])
		s:host('{"Listening":{"listener":2,"addresses":[]}}')
		s:turn()
		local before = s:get("order")
		-- Unknown segments, and a segment of another link.
		s:event(99, '{"Message":{"text":"x","multipart":false}}')
		s:event(7, '{"Message":{"text":"x","multipart":false}}', 5)
		s:event(7, '{"Message":{"text":"x","multipart":false}}', 0, 2)
		s:link(2, '{"Terminated":{"segment":{"session":7,"channel":0},"last_words":""}}')
		s:link(2, '{"Credit":{"segment":{"session":7,"channel":0},"events":4000000000}}')
		s:link(1, '{"Opened":{"segment":{"session":7,"channel":1},"cookie":3}}')
		s:link(1, '{"OpenFailed":{"parent":{"session":7,"channel":0},"cookie":3}}')
		s:link(2, '{"Resized":{"segment":{"session":7,"channel":0},"width":1,"height":1,"origin_ll":false,"text":false}}')
		s:link(2, '{"Adopt":{"segment":{"session":7,"channel":0},"kind":10,"title":"","guid":[0,0],"carries":"Events","registered":true,"active":true}}')
		s:event(7, '{"Register":{"title":"t","kind":2,"guid":[0,0]}}')
		s:closed(44)
		s:turn()
		eq(s:get("order"), before)
		eq(s:get("adopted"), nil)
		s:message(7, "still here")
		eq(s:get("order"), before .. "message ")
		eq(s:err(), "")
	end,

	["a peer cannot claim to be the network"] = function()
		local s = take()
		s:up(1)
		s:request(1, 7)
		s:event(7, '{"Register":{"title":"t","kind":2,"guid":[0,0],"carries":"Events"}}')
		s:event(7, '{"Register":{"title":"t","kind":3,"guid":[0,0],"carries":"Events"}}')
		s:turn()
		eq(s:get("order"), "")
		s:register(7)
		eq(s:get("order"), "registered preroll privdrop ")
	end,

	["changing the handler redirects what is queued"] = function()
		local s = taken([[
			function hear(v, status)
				if status.message == "a" then
					target_updatehandler(v, function(v, status) print(status.message) end)
				end
			end
		]])
		s:event(7, '{"Message":{"text":"a","multipart":false}}')
		s:event(7, '{"Message":{"text":"b","multipart":false}}')
		s:turn()
		eq(s:out(), { "b" })
	end,

	["no free channel: the new segment ends"] = function()
		local s = taken([[
			function hear(v, status)
				if status.kind == "segment_request" then
					accept_target(function(v, status) print(status.kind, status.last_words) end)
				end
			end
		]])
		s:segreq(7, 3)
		s:link(1, '{"OpenFailed":{"parent":{"session":7,"channel":0},"cookie":3}}')
		s:turn()
		eq(s:out(), { "terminated\tno channel is free" })
	end,

	["a segment deleted before it opens is closed when it does"] = function()
		local s = taken([[
			function hear(v, status)
				if status.kind == "segment_request" then sub = accept_target() end
				if status.kind == "message" then delete_image(sub) end
			end
		]])
		s:segreq(7, 3)
		s:message(7, "x")
		s:sent()
		s:link(1, '{"Opened":{"segment":{"session":7,"channel":1},"cookie":3}}')
		s:turn()
		eq(s:sent(), { '1 {"Close":{"segment":{"session":7,"channel":1},"last_words":""}}' })
		local s = take("function todo() delete_image(vid) end")
		s:up(1)
		s:request(1, 7)
		-- Said at once, and again should the other end not have known it yet.
		local close = { '1 {"Close":{"segment":{"session":7,"channel":0},"last_words":""}}' }
		s:turn(25)
		eq(s:sent(), close)
		s:register(7)
		eq(s:sent(), close)
		s:register(7)
		eq(s:sent(), {})
	end,

	["a lost data link ends what it carried"] = function()
		local s = taken("function hear(v, status) if status.kind == 'terminated' then print(status.last_words) end end")
		s:closed(1)
		s:turn()
		eq(s:out(), { "connection lost" })
	end,

	["sizes: only the newest, and after registered"] = function()
		local s = take("function hear(v, status) if status.kind == 'resized' then print(status.width, status.height, status.tpack) end end")
		s:up(1)
		s:request(1, 7)
		local size = '{"Resized":{"segment":{"session":7,"channel":0},"width":%d,"height":20,"origin_ll":false,"text":true}}'
		s:link(1, size:format(1))
		s:register(7)
		eq(s:get("order"), "registered preroll privdrop resized ")
		for i = 1, 1000 do
			s:link(1, size:format(i))
		end
		s:turn()
		eq(s:out(), { "1\t20\ttrue", "1000\t20\ttrue" })
	end,

	["TARGET_VERBOSE: frames are told, each for one event's credit"] = function()
		local s = taken([[
			function hear(v, status)
				if status.kind == "registered" then target_verbose(v) end
				if status.kind == "frame" then
					print(status.pts, status.number, status.x, status.y, status.width, status.height)
				end
			end
		]])
		s:link(1, SIZE:format(10, 10))
		s:link(1, FRAME:format(5))
		s:link(1, FRAME:format(6))
		s:turn()
		eq(s:get("order"), "registered preroll privdrop resized frame frame ")
		eq(s:out(), { "0\t5\t1\t2\t3\t4", "0\t6\t1\t2\t3\t4" })
		eq(s:sent(), { '1 {"Credit":{"segment":{"session":7,"channel":0},"events":2}}' })
	end,

	["flags go to the frameserver when they change, and before ACTIVATE"] = function()
		local s = take([[
			function hear(v, status)
				if status.kind == "preroll" then target_flags(v, TARGET_VERBOSE) target_verbose(v, true) end
				if status.message == "block" then target_flags(v, TARGET_BLOCKADOPT, 1) end
				if status.message == "quiet" then target_flags(v, TARGET_VERBOSE, false) end
				if status.message == "noise" then for i = 1, 100 do target_verbose(v, i % 2 == 1) end end
			end
		]])
		s:up(1)
		s:request(1, 7)
		s:register(7)
		eq({ unpack(s:sent(), 1, 2) }, { flags(true, false), target('"Activate"') })
		s:message(7, "block")
		eq(s:sent()[1], flags(true, true))
		s:message(7, "quiet")
		eq(s:sent()[1], flags(false, true))
		s:message(7, "quiet")
		hasnt(s:sent(), "Flags")
		s:message(7, "noise")
		eq({ unpack(s:sent(), 1, 2) }, {
			flags(false, true),
			'1 {"Credit":{"segment":{"session":7,"channel":0},"events":1}}',
		})
	end,

	["flags that are set before the client has spoken wait for that"] = function()
		local s = stage([[
			net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					vid = accept_target(function(source, status) end)
					target_flags(vid, TARGET_BLOCKADOPT)
				end
			end)
		]])
		s:up(1)
		s:request(1, 7)
		eq(s:sent(), {})
		s:register(7)
		eq(s:sent()[1], flags(false, true))
	end,

	["frames that nobody asked for, or before a size, are not told"] = function()
		local s = taken(SHOW .. "function go() target_verbose(vid) end")
		s:link(1, SIZE:format(1, 1))
		s:link(1, FRAME:format(1))
		s:turn()
		eq(s:out(), { "resized\t1\t1" })
		has(s:sent(), '"events":1')
		local s2 = taken(SHOW .. "function go() target_verbose(vid) end")
		s2:message(7, "go")
		s2:link(1, FRAME:format(1))
		s2:link(1, SIZE:format(1, 1))
		s2:link(1, FRAME:format(2))
		s2:turn()
		eq(s2:out(), { "resized\t1\t1", "frame\t2" })
	end,

	["sizes and frames stay in order; sizes are only merged where no frame is between"] = function()
		local s = taken(SHOW .. "function go() target_verbose(vid) end")
		s:message(7, "go")
		for _, size in ipairs({ 1, 2 }) do
			s:link(1, SIZE:format(size, 1))
		end
		s:link(1, FRAME:format(1))
		s:link(1, SIZE:format(3, 1))
		s:link(1, FRAME:format(2))
		s:turn()
		eq(s:out(), { "resized\t2\t1", "frame\t1", "resized\t3\t1", "frame\t2" })
	end,

	["TARGET_LIMITSIZE: larger pictures are withheld, and that is said once"] = function()
		local s = taken(SHOW .. [[
			function go() target_verbose(vid) target_flags(vid, TARGET_LIMITSIZE, 100, 50) end
		]])
		s:message(7, "go")
		for number, size in ipairs({ 100, 101, 20 }) do
			s:link(1, SIZE:format(size, 50))
			s:link(1, FRAME:format(number))
			s:link(1, FRAME:format(number + 10))
			s:turn()
		end
		eq(s:out(), {
			"resized\t100\t50",
			"frame\t1",
			"frame\t11",
			"withheld: 101 x 50 is larger than 100 x 50",
			"resized\t20\t50",
			"frame\t3",
			"frame\t13",
		})
	end,

	["a limit that is set late, and lifted"] = function()
		local s = taken(SHOW .. [[
			target = {
				function() target_flags(vid, TARGET_LIMITSIZE, 0, 50) end,
				function() target_flags(vid, TARGET_LIMITSIZE, false) end,
			}
			function go() table.remove(target, 1)() end
		]])
		s:link(1, SIZE:format(640, 480))
		s:turn()
		s:message(7, "go")
		s:message(7, "go")
		eq(s:out(), {
			"resized\t640\t480",
			"withheld: 640 x 480 is larger than any x 50",
			"resized\t640\t480",
		})
	end,

	["what target_flags refuses"] = function()
		local s = taken([[
			function todo()
				for _, flag in ipairs({0, 15, 1.5, TARGET_ALLOWVECTOR}) do
					print((select(2, pcall(target_flags, vid, flag))))
				end
				print((select(2, pcall(target_flags, vid, TARGET_LIMITSIZE))))
				print((select(2, pcall(target_flags, vid, TARGET_LIMITSIZE, -1, 5))))
				for flag = 1, 14 do
					if flag ~= TARGET_LIMITSIZE then target_flags(vid, flag, false) end
				end
			end
		]])
		s:turn(25)
		local out = s:out()
		for at, flag in ipairs({ "0", "15", "1.5", "0" }) do
			has(out[at], flag .. " is no TARGET_ flag")
		end
		has(out[5], "TARGET_LIMITSIZE needs a size")
		has(out[6], "-1 is not a size")
		eq(s:err(), "")
		eq(s:sent(), {})
	end,

	["input reaches the client, but for what it does not want"] = function()
		local s = taken([[
			function todo()
				print(target_input(vid, {kind = "digital", translated = true, active = true, utf8 = "a", keysym = 97, number = 38}),
					target_input({analog = true, mouse = true, samples = {1, -2, 3, 4, 5}, relative = true, subid = 2}, vid),
					target_input(vid, {kind = "touch", active = 1, x = 5, label = "0123456789abcdef"}),
					target_input(vid, {kind = "eyes"}),
					target_input(vid, {kind = "analog"}), target_input(vid, {kind = "nonsense"}))
			end
		]])
		s:event(7, '{"InputMask":{"device":32,"types":0}}')
		s:turn(25)
		eq(s:out(), { "1\t1\t1\t1\t0\t0" })
		s:turn(25)
		local sent = s:sent()
		has(sent[1], '"data":{"Translated":{"utf8":"a","active":true,"scancode":38,"keysym":97,"modifiers":0}}')
		has(sent[2], '"device_kind":2')
		has(sent[2], '"samples":[1,-2,3,4]')
		has(sent[3], '"label":"0123456789abcde"')
		has(sent[3], '"active":true')
		hasnt(sent, "Eyes")
	end,

	["one event each"] = function()
		local s = taken([[
			function todo()
				reset_target(vid) reset_target(vid, true)
				target_seek(vid, 5) target_seek(vid, 1, true, false, 2) target_seek(vid, 0.5, false, false, 0.25)
				target_coreopt(vid, 3, "v") target_graphmode(vid, 2, 1, 2, 3)
				print(target_fonthint(vid, 3.5, -1)) print(stepframe_target(vid, 2, 9), stepframe_target(vid, 1, true))
				target_displayhint(vid, 9000, 10, TD_HINT_FULLSCREEN, {ppcm = 40, subpixel_layout = "vBGR", width = 100, height = 50, refresh = 60})
				target_displayhint(vid, 0, 0, 0, WORLDID)
				target_verbose(vid) target_synchronous(vid, false) target_flags(vid, TARGET_LIMITSIZE, 10, 10)
				print(pcall(target_flags, vid, 99)) print(pcall(target_displayhint, vid, -1, 0)) print(pcall(target_displayhint, l, 1, 1))
			end
		]])
		s:turn(25)
		local sent = s:sent()
		local want = {
			'{"Reset":0}',
			'{"Reset":1}',
			'{"SeekTime":{"relative":true,"seconds":5.0}}',
			'{"SeekContent":{"Relative":{"y":1,"x":2,"zoom":0.0}}}',
			'{"SeekContent":{"Absolute":{"y":0.5,"x":0.25,"zoom":0.0}}}',
			'{"CoreOption":{"index":3,"value":"v"}}',
			'{"GraphMode":{"slot":2,"rgb":[1.0,2.0,3.0]}}',
			'{"FontHint":{"present":false,"size":3.5,"hinting":-1,"append":false}}',
			'{"StepFrame":{"count":2,"source":9,"counter":0}}',
			'{"StepFrame":{"count":1,"source":0,"counter":0}}',
			'{"OutputHint":{"max":[100,50],"rate":60,"min":[0,0],"id":0,"vrr":[0.0,0.0]}}',
			'{"DisplayHint":{"width":8192,"height":10,"flags":16,"subpixel":3,"density":40.0,"cell":[0,0],"token":0}}',
			'{"OutputHint":{"max":[1024,768],"rate":60,"min":[32,32],"id":0,"vrr":[0.0,0.0]}}',
			'{"DisplayHint":{"width":0,"height":0,"flags":0,"subpixel":0,"density":38.4,"cell":[0,0],"token":0}}',
		}
		for i, event in ipairs(want) do
			eq(sent[i], target(event))
		end
		eq(s:err(), "")
		local out = s:out()
		eq(out[1], "true\t0\t0")
		eq(out[2], "true\ttrue")
		has(out[3], "99 is no TARGET_ flag")
		has(out[4], "-1 is not a size")
		has(out[5], "is a listener")
	end,

	["a client that never reads but keeps asking is ended"] = function()
		local s = taken()
		for i = 1, 400 do
			s:segreq(7, i)
		end
		has(s:sent(), '"client does not read"')
		has(s:get("order"), "terminated")
	end,
}
