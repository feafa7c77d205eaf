print(moonport.base64.encode("moon")) --> bW9vbg==
