from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('evolution', '0005_agents'),
    ]

    operations = [
        migrations.AlterField(
            model_name='experiment',
            name='selection',
            field=models.CharField(choices=[('tournament', 'tournament'), ('roulette', "fitness-proportional (the paper's), on perplexity"), ('roulette_mfu', "fitness-proportional (the paper's), on MFU alone"), ('roulette_all', "fitness-proportional (the paper's), on perplexity and MFU"), ('pareto', 'perplexity and MFU, front by front')], default='tournament', max_length=12),
        ),
    ]
