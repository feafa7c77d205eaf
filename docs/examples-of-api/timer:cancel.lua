local timer = moonport.after(500, print)
print(timer:cancel(), timer:cancel()) --> true	false
