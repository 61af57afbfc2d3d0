-- ARGV: for each key its policy. The answer: for each what remains, and how long until it is all back.

local answer = {}
for index, key in ipairs(KEYS) do
  local policy = policyOf(ARGV[index])
  answer[2 * index - 1], answer[2 * index] = inspect(policy, key, read(policy, key))
end
return answer
