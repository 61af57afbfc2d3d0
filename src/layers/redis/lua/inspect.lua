-- ARGV: the policies; then for each key the number of its policy. The answer: for each what remains, and how long until
-- it is all back.

local policies, at = policiesOfCall()
local answer = {}
for index, key in ipairs(KEYS) do
  local policy = policies[ARGV[at + index - 1]]
  answer[2 * index - 1], answer[2 * index] = inspect(policy, key, read(policy, key))
end
return answer
