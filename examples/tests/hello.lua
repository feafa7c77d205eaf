-- Tests of hello.lua: `moonport test examples/tests`.

local function start()
    local app = load("../hello.lua", { "7000" })
    return app
end

function test_it_listens_where_it_is_told()
    local app = start()
    eq(app:listener("hello"), { name = "hello", interface = "127.0.0.1", port = 7000 })
    eq(app:output(), { "listening" })
end

function test_a_client_is_greeted_and_answered()
    local app = start()
    local anna = app:connect("hello", { title = "anna" })
    anna:expect("message", "hello, anna")
    anna:message("hi")
    anna:expect("message", "you said: hi")
end

function test_a_long_text_comes_back_whole()
    local anna = start():connect("hello")
    anna:expect("message")
    local text = ("long "):rep(40)
    anna:message(text)
    anna:expect("message", "you said: " .. text)
end

function test_a_stranger_is_not_let_in()
    local eve = start():connect("hello", { known = false })
    ok(eve:closed())
    eve:heard_nothing()
end

function test_after_the_door_is_closed_nobody_else_comes_in()
    local app = start()
    local anna = app:connect("hello", { key = "anna" })
    anna:expect("message")
    anna:message("close the door")
    anna:expect("message", "the door is closed")
    eq(app:listener("hello"), nil)
    raises(function()
        app:connect("hello")
    end, "no listener")
    anna:message("still here?")
    anna:expect("message", "you said: still here?")
end
