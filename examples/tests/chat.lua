-- Tests of chat.lua: `moonport test examples/tests`.

local function room(...)
    local app = load("../chat.lua")
    local people = {}
    for _, name in ipairs({ ... }) do
        local person = app:connect("chat", { title = name })
        person:expect("message", "^welcome, " .. name)
        table.insert(people, person)
    end
    return app, unpack(people)
end

function test_everybody_hears_who_comes_and_what_is_said()
    local _, anna, bert = room("anna", "bert")
    anna:expect("message", "bert has come")
    bert:message("good evening")
    anna:expect("message", "bert: good evening")
    bert:heard_nothing("message")
end

function test_two_of_one_name_are_told_apart()
    local _, anna, other = room("anna", "anna")
    anna:expect("message", "anna 2 has come")
    other:message("/who")
    other:expect("message", "here: anna, anna 2")
end

function test_who_leaves_is_missed()
    local _, anna, bert = room("anna", "bert")
    anna:expect("message", "bert has come")
    bert:message("/leave")
    ok(bert:closed())
    anna:expect("message", "bert has left")
end

function test_who_hangs_up_is_missed_too()
    local _, anna, bert = room("anna", "bert")
    anna:expect("message", "bert has come")
    bert:close()
    anna:expect("message", "bert has left")
end

function test_the_end_of_a_very_long_line_is_dropped()
    local _, anna, bert = room("anna", "bert")
    anna:expect("message", "bert has come")
    bert:message(("x"):rep(3000))
    eq(#anna:expect("message"), #"bert: " + 2000)
end
