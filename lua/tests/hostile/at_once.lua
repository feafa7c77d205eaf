-- ends: script
-- It does not even begin.
while true do end
