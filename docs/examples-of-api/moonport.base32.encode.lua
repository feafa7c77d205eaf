print(moonport.base32.encode("moon")) --> NVXW63Q=
