"""The backbone: a prompt that may hold soft tokens, followed by K completions, scored in one pass.

It knows no task. Molecules, items and preferences all reach it as prompt trees and towers.
"""
