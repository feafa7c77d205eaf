-- A key for a week.
local ANNA = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="

moonport.keys.expire(ANNA, os.time() + 7 * 24 * 3600, function(status)
    print(status.ok and "until next week" or status.message) --> until next week
end)
