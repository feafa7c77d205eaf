-- An empty list is a list.
print(moonport.json.encode({}), moonport.json.encode(moonport.json.array())) --> {}	[]
