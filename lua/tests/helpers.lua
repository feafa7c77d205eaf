-- moonport: globals stage connected eq has hasnt
-- The small library: JSON, hashes, encodings; whole texts.

-- What an expression gives, as a script prints it.
local function value(expression)
	local s = stage(("print(%s)"):format(expression))
	eq(s:err(), "")
	return s:out()[1]
end

-- The error of an expression.
local function wrong(expression, ...)
	local s = stage(("print(select(2, pcall(function() return %s end)))"):format(expression))
	local out = s:out()
	for _, part in ipairs({ ... }) do
		has(out, part)
	end
end

return {
	["json: values go there and back"] = function()
		for _, text in ipairs({
			"null",
			"true",
			"-5",
			"0.5",
			"1e+300",
			'"a\\"\\u0000ü"',
			"[]",
			"{}",
			"[1,[],{}]",
			'{"a":[null,1],"b":{"c":""}}',
		}) do
			local s = stage(("print((moonport.json.encode(moonport.json.decode(%q)):gsub('%%z', '0')))"):format(text))
			eq(s:out(), { (text:gsub("1e%+300", "1" .. ("0"):rep(300))) })
		end
	end,

	["json: arrays and objects are told apart"] = function()
		eq(value("moonport.json.encode({1, 2})"), "[1,2]")
		eq(value("moonport.json.encode({b = 1, a = {}})"), '{"a":{},"b":1}')
		eq(value("moonport.json.encode(moonport.json.array())"), "[]")
		eq(value("moonport.json.encode(moonport.json.array({{}}))"), "[{}]")
		eq(value("moonport.json.encode()"), "null")
		eq(value("moonport.json.decode('[null]')[1] == moonport.json.null"), "true")
		eq(value("moonport.json.decode('{\"a\":1,\"a\":2}').a"), "2")
		eq(value("9007199254740992 == moonport.json.decode('9007199254740992')"), "true")
	end,

	["json: what is wrong is told with its place"] = function()
		wrong("moonport.json.decode('[1,\\n 2,]')", "show.lua:1: moonport.json.decode:", "line 2 column")
		wrong("moonport.json.decode('1 2')", "trailing characters at line 1 column 3")
		wrong("moonport.json.decode('')", "line 1 column 0")
		wrong("moonport.json.decode('\"\\255\"')", "line 1")
		wrong("moonport.json.decode(('['):rep(65))", "more than 64")
		wrong("moonport.json.decode((' '):rep(2^24 + 1))", "16 MiB")
		wrong("moonport.json.encode({a = {1, print}})", "at .a[2]: a function has no JSON")
		wrong("moonport.json.encode({1, a = 2})", "neither 1 to n nor all strings")
		wrong("moonport.json.encode({[5] = 2})", "neither 1 to n nor all strings")
		wrong("moonport.json.encode({0/0})", "at [1]: ", "no number of JSON")
		wrong("moonport.json.encode('\\255')", "not UTF-8")
		wrong("(function() local t = {} t[1] = t return moonport.json.encode(t) end)()", "more than 64")
		wrong("moonport.json.encode({('x'):rep(2^24)})", "16 MiB")
	end,

	["hashes and encodings"] = function()
		eq(value("moonport.sha256('abc')"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
		eq(value("#moonport.sha256('abc', true)"), "32")
		eq(value("moonport.blake3('')"), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
		eq(value("moonport.base64.encode('f\\0')"), "ZgA=")
		eq(value("moonport.base64.decode('ZgA=') == 'f\\0'"), "true")
		eq(value("moonport.base64.decode('ZgA')"), "nil")
		eq(value("moonport.base32.encode('foob')"), "MZXW6YQ=")
		eq(value("moonport.base32.decode('MZXW6YQ=')"), "foob")
		eq(value("moonport.base32.decode('mzxw6yq=')"), "nil")
		eq(value("moonport.equal('a', 'a')"), "true")
		eq(value("moonport.equal('a', 'b')"), "false")
		eq(value("moonport.equal('a', 'ab')"), "false")
		eq(value("#moonport.random(100)"), "100")
		wrong("moonport.random(-1)", "cannot be had at once")
	end,

	["require: a file that is not there, and one that does not parse, are told with their names"] = function()
		has(stage("require 'gone'"):err(), "gone.lua")
		has(stage("require 'bad'", { files = { ["bad.lua"] = "x x" } }):err(), "bad.lua:1:")
		has(stage("require '../show'"):err(), "is not the name of a module")
		has(stage("require '/etc/passwd'"):err(), "is not the name of a module")
		has(stage("require 'a..b'"):err(), "is not the name of a module")
		eq(stage("print(require('a.b').x, require('a.b') == require('a.b'))", { files = { ["a/b.lua"] = "return { x = 1 }" } }):out(), { "1\ttrue" })
	end,

	["a text comes whole with its last part, cut inside characters or not"] = function()
		local s = connected([[
			net_listen("demo", function(source, status)
				if status.kind == "segment_request" then
					accept_target(function(source, status)
						if status.kind == "message" then
							print(status.message, status.multipart, status.text and #status.text, status.note)
						end
					end)
				end
			end)
		]])
		s:out()
		s:event(7, '{"Message":{"text":"one ","multipart":true}}')
		s:event(7, '{"Fragment":{"bytes":[195],"multipart":true}}')
		s:event(7, '{"Fragment":{"bytes":[188],"multipart":false}}')
		s:event(7, '{"Message":{"text":"two","multipart":false}}')
		s:event(7, '{"Fragment":{"bytes":[195],"multipart":false}}')
		s:turn()
		eq(s:out(), {
			"one \ttrue\tnil\tnil",
			"\ttrue\tnil\tnil",
			"\tfalse\t6\tnil",
			"two\tfalse\t3\tnil",
			"\tfalse\tnil\tnot UTF-8",
		})
		for _ = 1, 900 do
			s:event(7, ('{"Message":{"text":"%s","multipart":true}}'):format(("x"):rep(77)))
			s:turn()
		end
		s:out()
		s:message(7, "end")
		eq(s:out(), { "end\tfalse\tnil\tlonger than 65536 bytes" })
	end,
}
