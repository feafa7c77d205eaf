-- moonport: globals stage connected eq has hasnt
-- Forty mistakes that authors of scripts make. Each has its place, `show.lua` and the line where it
-- stands, and says in what it happened and what to do about it.

-- Where: `load`, `main`, `pulse`, `listener` (its segment_request), `client` (its message), `adopt`.
-- Each mistake stands on line 3 of the script.
local AROUND = {
	load = "local _\n_ = 1\n%s\n",
	main = "function main()\n\n%s\nend",
	pulse = "function show_clock_pulse()\n\n%s\nend",
	listener = "l = net_listen('demo', function(source, status) if status.kind == 'segment_request' then\n\n%s\nend end)",
	client = "function client(source, status) if status.kind == 'message' then\n\n%s\nend end\n"
		.. "l = net_listen('demo', function(s, status) if status.kind == 'segment_request' then c = accept_target(client) end end)",
	adopt = "function show_adopt(vid)\n\n%s\nend\n",
}

local IN = {
	load = "in: loading the script",
	main = "in: main()",
	pulse = "in: show_clock_pulse()",
	listener = 'in: the callback of listener "demo" (show.lua:1), on segment_request',
	client = "in: the callback of ",
	adopt = "in: show_adopt()",
}

-- Where it happens, what is written there, what is told, what to do.
local MISTAKES = {
	{ "pulse", "net_lisen('x', print)", "attempt to call global 'net_lisen'", "is it net_listen that is meant?" },
	{ "pulse", "show_image(1)", "attempt to call global 'show_image'", "no display" },
	{ "pulse", "local t = nil t.x = 1", "attempt to index local 't'", "it is nil here" },
	{ "pulse", "local n = 'a' + 1", "attempt to perform arithmetic", "tonumber" },
	{ "pulse", "local s = 'a' .. nil", "attempt to concatenate", "tostring(...)" },
	{ "pulse", "local b = 1 < '2'", "attempt to compare", "tonumber" },
	{ "pulse", "local n = #nil", "attempt to get length", "it is nil here" },
	{ "pulse", "(nil)()", "attempt to call a nil value", "a function" },
	{ "pulse", "for k in pairs(nil) do end", "bad argument #1 to 'pairs'", "it is nil here" },
	{ "pulse", "local function f() return 1 + f() end f()", "stack overflow", "calls itself" },
	{ "pulse", "error('my own words')", "my own words" },
	{ "pulse", "error({})", "an error that is a table", "give error(...) a text" },
	{ "pulse", "error()", "an error that is nil", "give error(...) a text" },
	{ "pulse", "error(setmetatable({}, { __tostring = function() return 'shown' end }))", "shown" },
	{ "pulse", "assert(false)", "assertion failed!" },
	{ "pulse", "delete_image(nil)", "delete_image: bad argument #1 (vid: number expected, got nil)", "delete_image(vid)" },
	{ "pulse", "delete_image('x')", "got string", "delete_image(vid)" },
	{ "pulse", "delete_image(77)", "delete_image: vid 77 does not exist", "valid_vid" },
	{ "pulse", "local l = net_listen('x', print) delete_image(l)\ndelete_image(l)", "was deleted at show.lua:3", "valid_vid", 4 },
	{ "client", "delete_image(source) target_displayhint(source, 1, 1)", "was deleted at show.lua:3", "valid_vid" },
	{ "client", "target_displayhint(source, 'a', 'b')", "bad argument #2 (width: number expected, got string)", "target_displayhint(vid" },
	{ "client", "target_displayhint(l, 1, 1)", "is a listener, not a client", "the vid that accept_target" },
	{ "client", "message_target('x')", "bad argument #2", "message_target(" },
	{ "client", "message_target(status.mesage, source)", "bad argument #", "message_target(" },
	{ "client", "target_updatehandler(source, 7)", "bad argument #2 (callback: function expected, got number)", "target_updatehandler(vid" },
	{ "client", "accept_target()", "accept_target: there is no request to accept", "segment_request" },
	{ "client", "target_seek(source)", "bad argument #2", "target_seek(vid, value" },
	{ "client", "local x = status.mesage:upper()", "attempt to index field 'mesage'", "is it message that is meant?" },
	{ "client", "client()", "attempt to index local 'status'", "it is nil here", 1 },
	{ "listener", "local nothing = nothing.at_all", "attempt to index global 'nothing'", "it is nil here" },
	{ "listener", "accept_target() accept_target()", "has been accepted already", "one accept_target" },
	{ "listener", "accept_target('x')", "bad argument #1", "accept_target(" },
	{ "main", "net_listen('x')", "net_listen: no callback was given", "the last argument is a function" },
	{ "main", "net_listen('a b', print)", "net_listen: ", "a name is 1 to 30" },
	{ "main", "net_listen('x', '', 70000, print)", "70000 is not a port", "1..65535" },
	{ "main", "moonport.listen({ nam = 'x' }, print)", "unknown option nam", "is it name that is meant?" },
	{ "main", "moonport.listen({ window = { count = 1 } }, print)", "a window needs a secret", "add secret" },
	{ "main", "benchmark_timestamp(7)", "7 is no unit of time", "0: milliseconds" },
	{ "load", "require('missing')", "missing.lua", "require reads missing.lua" },
	{ "load", "require('../x')", "is not the name of a module", "in the script's folder" },
	{ "load", "local x = = 1", "unexpected symbol near '='", "does not parse" },
	{ "load", "if true then", "'end' expected", "does not parse", 3 },
	{ "adopt", "vid.x = 1", "attempt to index local 'vid'", "" },
}

-- Runs a script until the mistake has happened.
local function make(mistake, mode)
	local where, what = mistake[1], mistake[2]
	local s = stage(AROUND[where]:format((what:gsub("%%", "%%%%"))), { mode = mode })
	if where == "pulse" then
		s:turn(25)
	elseif where == "listener" or where == "client" then
		s:up(1)
		s:request(1, 7)
		if where == "client" then
			s:register(7)
			s:message(7, "hello")
		end
	elseif where == "adopt" then
		s:host('{"Adopt":{"listener":4294967295,"survivors":[{"session":7,"name":"demo","key":null,"endpoint":"[::1]:5"}]}}')
		s:link(4294967295, '{"Adopt":{"segment":{"session":7,"channel":0},"kind":10,"title":"t","guid":[0,0],"carries":"Events","registered":true,"active":true}}')
		s:turn()
	end
	return s
end

local function check(mistake, mode)
	local where, what, told, hint, line = unpack(mistake)
	local s = make(mistake, mode)
	local err = s:err()
	local from = err:find("error: ", 1, true)
	assert(from, "nothing is told of " .. what)
	err = err:sub(from)
	has(err:match("^[^\n]*"), told)
	if what ~= "if true then" then
		has(err:match("^[^\n]*"), ("show.lua:%d: "):format(line or 3))
	end
	has(err, IN[where])
	has(err, "so: ")
	if hint then
		has(err:match("\n  hint: [^\n]*") or "no hint in " .. err, hint)
	end
	local ends = mode ~= "isolate" or where == "load" or where == "main"
	eq(s:exit(), ends and 1 or nil)
	if not ends and where == "listener" then
		has(s:said(), '{"Decide":{"session":7,"accept":false}}')
	end
	if ends then
		has(err, "so: the script is ended")
	end
end

local tests = {}
for number, mistake in ipairs(MISTAKES) do
	for _, mode in ipairs({ "isolate", "classic", "strict" }) do
		tests[("%d, %s, %s: %s"):format(number, mistake[1], mode, mistake[2])] = function()
			check(mistake, mode)
		end
	end
end

tests["there are forty and more"] = function()
	assert(#MISTAKES >= 40)
end

return tests
