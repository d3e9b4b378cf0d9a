"""`shoal explain PATH`: what is known of one path (law 9).

subject   what a path means: its node, and the node's rows in the three trees
words     what each tree says of it, and the planner's step, in words
reasons   why it isn't synced
answer    all of that put together
"""
