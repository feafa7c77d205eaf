-- An empty table is an object, unless it is marked.
print(moonport.json.encode({ {}, moonport.json.array() })) --> [{},[]]
