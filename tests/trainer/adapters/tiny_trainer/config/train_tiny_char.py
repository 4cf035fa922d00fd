# a model for a test: seconds on a CPU
out_dir = "out-tiny"
eval_interval = 100
eval_iters = 50
log_interval = 1
always_save_checkpoint = False

dataset = "tiny_char"
gradient_accumulation_steps = 1
batch_size = 8
block_size = 16

learning_rate = 1e-2
max_iters = 1000
lr_decay_iters = 1000
