/** Light or dark: as it was chosen, else as the system has it. */
import { computed, effect, signal } from '@preact/signals';

const CHOICES = ['', 'dark', 'light'] as const;
export type Theme = (typeof CHOICES)[number];

const system = window.matchMedia('(prefers-color-scheme: dark)');
const isSystemDark = signal(system.matches);
system.addEventListener('change', ({ matches }) => (isSystemDark.value = matches));

/** '': as the system has it. */
export const theme = signal<Theme>(CHOICES.find((one) => one === localStorage.getItem('theme')) ?? '');
export const isDark = computed(() => (theme.value === '' ? isSystemDark.value : theme.value === 'dark'));

effect(() => {
  document.documentElement.dataset['theme'] = theme.value;
  localStorage.setItem('theme', theme.value);
});

export function nextTheme(): void {
  theme.value = CHOICES[(CHOICES.indexOf(theme.value) + 1) % CHOICES.length]!;
}
