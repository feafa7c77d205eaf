-- Lets a key in for "lamp", and gives it a label; `moonport run --allow-keys lamp` lets it.
local ANNA = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="

moonport.keys.accept(ANNA, "lamp", "anna", function(status)
    print(status.ok and "anna may come in" or status.message) --> anna may come in
end)
