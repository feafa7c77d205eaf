-- moonport: globals stage connected eq has hasnt
-- Ways out of a Lua VM that have worked elsewhere.

local function out(source, options)
	local s = stage(source, options)
	return s:out(), s:err(), s
end

-- Runs a pulse that does this, with little time; then the next one.
local function survives(body)
	local s = stage(
		"function show_clock_pulse() if not went then went = true " .. body .. " after = true else again = true end end",
		{ stop_ms = 30, memory_mib = 32 }
	)
	s:turn(25)
	local err = s:err()
	s:turn(25)
	eq(s:get("after"), nil)
	eq(s:get("again"), true)
	eq(s:exit(), nil)
	return err
end

return {
	["no bytecode comes in or goes out"] = function()
		local lines, err = out(
			[[
			print(load, loadstring, loadfile, dofile, string.dump, ("").dump)
			print(pcall(require, "code"))
		]],
			{ files = { ["code.lua"] = string.dump(function() end) } } -- moonport: ignore
		)
		eq(err, "")
		eq(lines[1], ("nil\t"):rep(5) .. "nil")
		has(lines[2], "bytecode")
	end,

	["nothing reaches the system"] = function()
		local lines, err = out([[
			local found = {}
			for _, path in ipairs({
				"io", "package", "ffi", "jit", "newproxy", "gcinfo", "collectgarbage", "module", "setfenv", "getfenv",
				"xpcall", "rawequal", "rawlen", "os.exit", "os.execute", "os.getenv", "os.remove", "os.rename", "os.tmpname",
				"os.setlocale", "package.loadlib", "package.loaded", "debug.getinfo", "debug.sethook",
				"debug.getregistry", "debug.setmetatable", "debug.getupvalue", "debug.setfenv", "debug.upvaluejoin",
				"string.dump", "string.buffer", "table.new", "coroutine.isyieldable",
			}) do
				local value = _G
				for word in path:gmatch("[^.]+") do value = type(value) == "table" and value[word] or nil end
				if value ~= nil then found[#found + 1] = path end
			end
			print(table.concat(found, " "))
			for _, name in ipairs({ "ffi", "jit", "io", "os", "string.buffer", "table.new", "debug", "_G" }) do
				print(pcall(require, name))
			end
		]])
		eq(err, "")
		eq(lines[1], "")
		for at = 2, #lines do
			has(lines[at], "false\t")
			has(lines[at], "No such file")
		end
		eq(#lines, 9)
	end,

	["no global leads to one that was taken away"] = function()
		local lines, err = out([[
			local seen, bad = {}, {}
			local wanted = { dump = true, getinfo = true, sethook = true, loadlib = true, execute = true, getfenv = true }
			local function look(value, path)
				if type(value) ~= "table" or seen[value] then return end
				seen[value] = true
				for key, inner in next, value do
					if wanted[key] then bad[#bad + 1] = path .. "." .. tostring(key) end
					look(key, path .. "[key]")
					look(inner, path .. "." .. tostring(key))
				end
				look(getmetatable(value), path .. "[metatable]")
			end
			look(_G, "_G")
			look(getmetatable(""), "string")
			print(#bad, bad[1])
		]])
		eq(err, "")
		eq(lines, { "0\tnil" })
	end,

	["require stays in the folder"] = function()
		local lines = out(
			[[
			for _, name in ipairs({ "../x", "..", "/etc/passwd", "a/../../x", "a\0b", "", ".", "a..b", "./a", "~", "a b" }) do
				print(pcall(require, name))
			end
			print(pcall(require, "away"))
			print(pcall(require, "home"))
		]],
			{ files = { ["a.lua"] = "" }, links = { ["away.lua"] = "/etc/hostname", ["home.lua"] = "a.lua" } }
		)
		for at = 1, 11 do
			has(lines[at], "false\tshow.lua:2: require: ")
			has(lines[at], "is not the name of a module")
		end
		has(lines[12], "away.lua leads out of the script's folder")
		eq(lines[13], "true\ttrue")
	end,

	["what a script does to the tables it finds harms only itself, and not the limits"] = function()
		local err = survives([[
			getmetatable("").__index = function() return error end
			string.find, string.match, string.rep, table.concat, tostring, select = nil
			pcall, error, next, type, print = nil
			for key in pairs(coroutine) do coroutine[key] = nil end
			setmetatable(_G, { __index = error, __newindex = rawset })
			_G._G = nil
			while true do end
		]])
		has(err, "stopped: it ran for more than 30ms")
	end,

	["limits hold in coroutines, metamethods and whatever catches errors"] = function()
		for _, body in ipairs({
			"coroutine.wrap(pcall)(function() while true do end end)",
			"coroutine.wrap(function() while true do pcall(coroutine.wrap(function() while true do end end)) end end)()",
			"local co = coroutine.create(function() while true do coroutine.yield() end end) while true do coroutine.resume(co) end",
			"local t = setmetatable({}, { __index = function() while true do end end }) pcall(function() return t.x end)",
			"local t = setmetatable({}, { __tostring = function() while true do end end }) pcall(tostring, t)",
			"pcall(print, setmetatable({}, { __tostring = function() while true do end end }))",
			"pcall(error, setmetatable({}, { __tostring = function() while true do end end })) while true do end",
			"local t = setmetatable({}, { __lt = function() while true do end end }) pcall(function() return t < t end)",
			"local t = setmetatable({}, { __concat = function() while true do end end }) pcall(function() return t .. 'x' end)",
			"for x in function() while true do end end do end",
			"pcall(string.gsub, 'x', 'x', function() while true do end end)",
			"pcall(table.sort, { 3, 2, 1 }, function() while true do end end)",
			"pcall(require, 'loops') while true do end",
			"pcall(net_listen, 'x', function() end) while true do pcall(delete_image, 77) end",
			"while true do warning('again') end",
			"l = net_listen('x', function() end) while true do target_input(l, 'x') target_input(l, '0:x') end",
			"while true do pcall(delete_image, net_listen('x', function() end)) end",
		}) do
			has(survives(body), "stopped: it ran for more than 30ms")
		end
	end,

	["a full stack is left whole, and ends the handler"] = function()
		for _, body in ipairs({
			"local function f() while true do pcall(f) end end pcall(f)",
			"local function f() pcall(f) pcall(f) end f()",
			"local function f() return 1 + f() end while true do pcall(f) end",
			"local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) t = t[1]",
		}) do
			local err = survives(body)
			if not err:find("it ran for more than", 1, true) then
				has(err, "overflow")
			end
		end
	end,

	["an error value that loops or fails when it is shown is shown all the same"] = function()
		for _, value in ipairs({
			"setmetatable({}, { __tostring = function() while true do end end })",
			"setmetatable({}, { __tostring = function() error('again') end })",
			"setmetatable({}, { __tostring = function(t) return tostring(t) end })",
			"setmetatable({}, { __tostring = function() return {} end })",
			"setmetatable({}, { __metatable = 'no', __tostring = error })",
			"coroutine.create(error)",
			"false",
			"nil",
		}) do
			local err = survives("error(" .. value .. ")")
			has(err, "error: ")
			has(err, "in: show_clock_pulse()")
		end
	end,

	["patterns without end are stopped, in all four functions"] = function()
		local text, pattern = "('a'):rep(5000)", "(('.-'):rep(12) .. 'b')"
		for _, body in ipairs({
			("%s:find(%s)"):format(text, pattern),
			("%s:match(%s)"):format(text, pattern),
			("%s:gmatch(%s)()"):format(text, pattern),
			("%s:gsub(%s, '')"):format(text, pattern),
			("pcall(string.find, %s, %s, -5000)"):format(text, pattern),
			("while true do pcall(string.find, %s, %s) end"):format(text, pattern),
			"('a'):rep(5e6):find(('a'):rep(5e5) .. 'b', 1, true)",
			"('('):rep(3e5):gsub('%b()', '')",
		}) do
			has(survives(body), "stopped: it ran for more than 30ms")
		end
	end,

	["patterns that end give what they always gave"] = function()
		local lines, err = out([[
			local text = ("name = value, "):rep(3000)
			print(text:find("(%w+) = (%w+), $"), select("#", text:find("zzz")))
			print(text:match("^(.-) = (.-),"), text:match("()= value, $"))
			local n = 0
			for k, v in text:gmatch("(%w+)%s*=%s*(%w+)") do n = n + #k + #v end
			print(n, select(2, text:gsub("%s*=%s*", ": ")), (text:gsub("(%w+) = (%w+), ", "%2", 2)):sub(1, 14))
			print(("x"):find(""), ("x"):find("x", 2), ("a.b"):find(".", 1, true), string.rep(12, 2), ("%d"):rep(2, " "))
			print(pcall(string.find, "x"), pcall(string.find, nil, "x"), pcall(string.gsub, "x", "x"))
			print(pcall(string.find, "x", "("), pcall(string.rep))
		]])
		eq(err, "")
		eq(lines[1], "41987\t1")
		eq(lines[2], "name\t41992")
		eq(lines[3], "27000\t3000\tvaluevaluename")
		eq(lines[4], "1\tnil\t2\t1212\t%d %d")
	end,

	["what takes too much memory ends the handler, caught or not"] = function()
		for _, body in ipairs({
			"('x'):rep(1e9)",
			"while true do pcall(string.rep, 'x', 1e9) end",
			"local s = 'x' while true do s = s .. s end",
			"local s = 'x' while true do local well, more = pcall(function() return s .. s end) s = more end",
			"local t = {} pcall(function() for i = 1, 1e9 do t[i] = { i } end end)",
			"local co = coroutine.wrap(function() local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end end) pcall(co)",
			"table.concat({ ('x'):rep(1e7), ('y'):rep(1e7), ('z'):rep(1e7) }) ('x'):rep(1e9)",
			"('x'):rep(1e7):gsub('.', '%0%0%0%0') ('x'):rep(1e9)",
		}) do
			local err = survives(body)
			if not err:find("it ran for more than", 1, true) then
				has(err, "not enough memory")
			end
		end
	end,

	["garbage is collected before memory is called full"] = function()
		local s = stage(
			[[
			keep = {}
			for i = 1, 2400 do keep[i] = ("k"):rep(1e4) .. i end
			function show_clock_pulse()
				for i = 1, 2e4 do local waste = ("x"):rep(1e4) .. i end
				went = true
			end
		]],
			{ memory_mib = 40 }
		)
		s:turn(25)
		eq(s:err(), "")
		eq(s:get("went"), true)
	end,

	["many warnings at once are few"] = function()
		local s = stage("for i = 1, 1e4 do warning('warning ' .. i) end")
		local err = s:err()
		has(err, "warning 100\n")
		hasnt(err, "warning 101\n")
		has(err, "9900 more warnings")
	end,

	["lines of a report cannot pass for lines of the log"] = function()
		local err = select(2, out([[warning("one\n2026-01-01 INFO key accepted") error("x\n2026-01-01 INFO two")]]))
		for line in err:gmatch("[^\n]+") do
			assert(not line:find("^2026"), line)
		end
		has(err, "\n  2026-01-01 INFO key accepted")
	end,
}
